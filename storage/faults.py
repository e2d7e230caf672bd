"""What to do about a fault, decided once, by SQLSTATE."""

from enum import Enum
from typing import Final

import psycopg2
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class Fault(Enum):
    """How a batch that failed goes on. No fault ever becomes a rejection."""

    TRANSIENT = "hold in place and back off"
    RELOAD = "run it again at once: somebody else was first"
    DETERMINISTIC = "retry one by one, then park what still fails"


_BY_STATE: Final = {
    "23505": Fault.RELOAD,  # unique_violation: decided or opened through another partition
    "40001": Fault.RELOAD,  # serialization_failure
    "40P01": Fault.RELOAD,  # deadlock_detected
    "25P03": Fault.TRANSIENT,  # idle_in_transaction_session_timeout
    "25006": Fault.TRANSIENT,  # read_only_sql_transaction: a standby that was promoted away
    "55P03": Fault.TRANSIENT,  # lock_not_available: lock_timeout
    "0A000": Fault.TRANSIENT,  # a prepared statement whose tables were migrated since
    "26000": Fault.TRANSIENT,  # invalid_sql_statement_name: what was prepared is gone
}

PREPARED_IN_VAIN: Final = frozenset({"0A000", "26000"})
"""What a connection has prepared is of no use any more; a new one prepares it anew."""

_BY_CLASS: Final = {
    "08": Fault.TRANSIENT,  # connection exceptions
    "53": Fault.TRANSIENT,  # insufficient resources: connections, disk, memory
    "57": Fault.TRANSIENT,  # operator intervention: shutdown, cancel, statement_timeout
    "58": Fault.TRANSIENT,  # system errors
    "28": Fault.TRANSIENT,  # authorization: a rotated password is the operator's to mend
    "3D": Fault.TRANSIENT,  # the database is not there (yet)
    "42": Fault.TRANSIENT,  # rights and tables: the operator's doing, never a message's
}


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE that Postgres gave, if the error is Postgres's and came with one."""
    original = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(original, "pgcode", None)
    return state if isinstance(state, str) else None


DATABASE_ERRORS: Final = (SQLAlchemyError, psycopg2.Error, OSError)
"""What may be raised while Postgres is asked. The driver's own errors come through where a
connection that was lost is given back to its pool."""


def classify(error: BaseException) -> Fault:
    """Look a fault up. Without a SQLSTATE, a lost connection is transient; a bug is not."""
    state = sqlstate(error)
    if state is not None:
        by_class = _BY_CLASS.get(state[:2], Fault.DETERMINISTIC)
        return _BY_STATE.get(state, by_class)
    original = error.orig if isinstance(error, DBAPIError) else error
    lost = (psycopg2.OperationalError, psycopg2.InterfaceError, PoolTimeoutError, OSError)
    if isinstance(original, lost):
        return Fault.TRANSIENT
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Fault.TRANSIENT
    return Fault.DETERMINISTIC

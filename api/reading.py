"""Asking Postgres within a bound of time, or 503."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import sqlalchemy.exc
from sqlalchemy import Engine, text

from api.problems import Problem
from storage.breaker import Breaker
from storage.faults import DATABASE_ERRORS, Fault, classify, sqlstate

_T = TypeVar("_T")

PAUSE_S: Final = 0.5
"""How long Postgres is left alone after a connection failed."""

CONCURRENT: Final = 16
"""Reads at once, and connections, of one process."""

_TURN_S: Final = 0.5
_QUICK_S: Final = 0.3

# The API's role only reads, unless a transaction says that it wants to write (roles.sql).
_READ_WRITE: Final = text("SET TRANSACTION READ WRITE")

_LOG: Final = logging.getLogger(__name__)


class Reading:
    """Runs the functions of `storage` on one engine: most of them read. Shared by all threads."""

    def __init__(self, engine: Engine) -> None:
        # One statement needs no transaction around it, nor the two round trips for that.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._transactions = engine
        self._breaker = Breaker(PAUSE_S)
        self._turns = threading.BoundedSemaphore(CONCURRENT)

    def __call__(self, read: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        """Return `read(engine, *arguments)`.

        Raises: Problem 503 when Postgres is away or too busy.
        """
        if not self._turns.acquire(timeout=_TURN_S):
            raise Problem("temporarily_unavailable")
        try:
            return self._read(read, *arguments, **named)
        finally:
            self._turns.release()

    def write(self, change: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        """Return `change(connection, *arguments)`, committed, in a transaction of its own.

        Raises: Problem 503 when Postgres is away or too busy. If it went away just then, the
        change may be done all the same.
        """

        def changed(_: Engine) -> _T:
            with self._transactions.connect() as connection:
                connection.execute(_READ_WRITE)
                try:
                    result = change(connection, *arguments, **named)
                    connection.commit()
                except sqlalchemy.exc.DBAPIError as error:
                    # Not tried twice: nobody knows what became of the first.
                    if error.connection_invalidated:
                        raise Problem("temporarily_unavailable") from None
                    raise
            return result

        return self(changed)

    def _read(self, read: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        if not self._breaker.admits():
            raise Problem("temporarily_unavailable")
        start = time.monotonic()
        try:
            found = self._twice(start, read, *arguments, **named)
        except DATABASE_ERRORS as error:
            if classify(error) is Fault.DETERMINISTIC:
                raise
            if sqlstate(error) is None:
                self._breaker.failed()
            _LOG.warning("Postgres is away: %s", type(error).__name__)
            raise Problem("temporarily_unavailable") from None
        self._breaker.succeeded()
        return found

    def _twice(self, start: float, read: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        """A pooled connection that Postgres closed while it was idle is worth another try."""
        try:
            return read(self._engine, *arguments, **named)
        except sqlalchemy.exc.DBAPIError as error:
            if not error.connection_invalidated or time.monotonic() > start + _QUICK_S:
                raise
        return read(self._engine, *arguments, **named)

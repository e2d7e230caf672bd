"""A transaction whose BEGIN travels with its first statement.

The driver's own BEGIN is a round trip, and a transaction of one transfer is little else than
round trips (`docs/decisions/0025-round-trips.md`).
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg2
from sqlalchemy import Connection, Engine

from storage.prepared import Prepared, Ran

_COMMIT: Final = "COMMIT"


class NotCommitted(Exception):
    """Postgres answered a COMMIT with something else: nothing of the transaction is stored."""


@contextmanager
def begun_with(
    engine: Engine, first: Prepared, **values: object
) -> Iterator[tuple[Connection, Ran]]:
    """Run the block in a transaction that `first` has begun; committed once the block is left.

    Gives the connection and what the first statement gave. What is raised in the block rolls
    everything back.

    Raises: NotCommitted; the driver's errors.
    """
    with engine.connect() as connection:
        # Otherwise the driver would say BEGIN for itself, in a message of its own.
        _begins_none(connection, True)
        try:
            yield connection, first.begin(connection, **values)
            ended = _end(connection, _COMMIT)
            _begins_none(connection, False)
        except BaseException:
            _roll_back(connection)
            raise
    if ended != _COMMIT:
        raise NotCommitted(ended)


def _roll_back(connection: Connection) -> None:
    """Leave a connection as it was found, or never use it again."""
    if connection.invalidated:
        return
    try:
        _end(connection, "ROLLBACK")
        _begins_none(connection, False)
    except psycopg2.Error:
        # Whatever is wrong with it is what the block has raised already.
        with suppress(psycopg2.Error):
            connection.invalidate()


def _begins_none(connection: Connection, wanted: bool) -> None:
    """Whether the driver leaves the beginning of transactions to us. No message is sent."""
    driver: Any = connection.connection.driver_connection
    driver.autocommit = wanted


def _end(connection: Connection, how: str) -> str | None:
    """End the transaction; what Postgres says it has done."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(how)
        said: str | None = cursor.statusmessage
        return said
    finally:
        cursor.close()

"""Statements that a connection plans once: the ledger runs the same few for every batch."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import psycopg2
from sqlalchemy import Connection

from storage.faults import PREPARED_IN_VAIN, sqlstate

_PARAMETER: Final = re.compile(r"(?<!:):(\w+)")


class Ran(NamedTuple):
    """What a statement gave: its rows, if it has any, and how many it found or changed."""

    rows: Sequence[tuple[Any, ...]]
    rowcount: int


class Prepared:
    """A statement that Postgres parses and plans once for each connection that runs it.

    `sql` names its parameters as SQLAlchemy's text does, `:ids`; `types` says what each is in
    Postgres, in any order. It is prepared at its first run on a connection, and lasts as long,
    whatever becomes of the transaction. So it needs sessions: a pooler between us and Postgres
    has to keep one for each connection.

    It runs on the driver's cursor, in the transaction of SQLAlchemy's connection: what SQLAlchemy
    does for a statement costs more than most of these cost Postgres.
    """

    def __init__(self, name: str, sql: str, **types: str) -> None:
        places = {parameter: f"${place}" for place, parameter in enumerate(types, start=1)}
        numbered = _PARAMETER.sub(lambda found: places[found[1]], sql)
        self._name = name
        self._preparation = f"PREPARE {name} ({', '.join(types.values())}) AS {numbered}"
        self.execution: Final = f"EXECUTE {name}({', '.join(f'%({each})s' for each in types)})"
        """What is run once it is prepared, in psycopg2's terms."""

    def run(self, connection: Connection, **values: object) -> Ran:
        """Run it with a value for each parameter.

        Raises: the driver's errors. If what was prepared is of no use, the connection is not
        used again.
        """
        return self._run(connection, self.execution, values)

    def begin(self, connection: Connection, **values: object) -> Ran:
        """As `run`, and begin a transaction with it, on a connection whose driver begins none."""
        return self._run(connection, f"BEGIN; {self.execution}", values)

    def prepare(self, connection: Connection) -> None:
        """Have this connection know it. Raises: the driver's errors."""
        if self._name not in connection.info:
            connection.exec_driver_sql(self._preparation)
            connection.info[self._name] = self

    def _run(self, connection: Connection, execution: str, values: Mapping[str, object]) -> Ran:
        self.prepare(connection)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(execution, values)
            return Ran(cursor.fetchall() if cursor.description else [], cursor.rowcount)
        except psycopg2.Error as error:
            if sqlstate(error) in PREPARED_IN_VAIN:
                connection.invalidate(error)
            raise
        finally:
            cursor.close()

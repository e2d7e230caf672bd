"""Statements that a connection plans once: the ledger runs the same few for every batch."""

import re
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, text
from sqlalchemy.exc import DBAPIError

from storage.faults import PREPARED_IN_VAIN, sqlstate

_PARAMETER: Final = re.compile(r"(?<!:):(\w+)")


class Prepared:
    """A statement that Postgres parses and plans once for each connection that runs it.

    `sql` names its parameters as SQLAlchemy's text does, `:ids`; `types` says what each is in
    Postgres, in any order. It is prepared at its first run on a connection, and lasts as long,
    whatever becomes of the transaction. So it needs sessions: a pooler between us and Postgres
    has to keep one for each connection.
    """

    def __init__(self, name: str, sql: str, **types: str) -> None:
        places = {parameter: f"${place}" for place, parameter in enumerate(types, start=1)}
        numbered = _PARAMETER.sub(lambda found: places[found[1]], sql)
        self._name = name
        self._preparation = f"PREPARE {name} ({', '.join(types.values())}) AS {numbered}"
        self.execution: Final = text(f"EXECUTE {name}({', '.join(f':{each}' for each in types)})")
        """What is run once it is prepared."""

    def run(self, connection: Connection, **values: object) -> CursorResult[*tuple[Any, ...]]:
        """Run it with a value for each parameter.

        Raises: the driver's errors. If what was prepared is of no use, the connection is not
        used again.
        """
        self.prepare(connection)
        try:
            return connection.execute(self.execution, values)
        except DBAPIError as error:
            if sqlstate(error) in PREPARED_IN_VAIN:
                connection.invalidate(error)
            raise

    def prepare(self, connection: Connection) -> None:
        """Have this connection know it. Raises: the driver's errors."""
        if self._name not in connection.info:
            connection.exec_driver_sql(self._preparation)
            connection.info[self._name] = self

"""Many values as one parameter: array literals and COPY lines, made by hand for speed.

psycopg2 adapts a list element by element, which costs more than the statement.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import psycopg2
from sqlalchemy import Connection

NULL: Final = r"\N"
"""How COPY writes a null."""

_LINES_AT_ONCE: Final = 50
"""About as many as fill what libpq sends at once."""

_ESCAPED_BY_COPY: Final = re.compile(r"[\\\t\n\r]").search
_COPY_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def array(values: Iterable[object]) -> str:
    """An array literal of ids or numbers: values that need no quoting."""
    return "{" + ",".join(map(str, values)) + "}"


def text_array(values: Iterable[str | None]) -> str:
    """An array literal of any text."""
    return "{" + ",".join(map(_quoted, values)) + "}"


def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    escaped = value.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def copied(value: str | None) -> str:
    """One text field of a COPY line."""
    if value is None:
        return NULL
    # Nearly no text needs it, and to look is four times as quick as to translate.
    return value.translate(_COPY_ESCAPES) if _ESCAPED_BY_COPY(value) else value


def copy(connection: Connection, statement: str, lines: Iterator[str]) -> None:
    """Run a COPY whose lines are made while Postgres stores the ones before them.

    Raises: what making the lines raises; the driver's errors.
    """
    made = _Lines(lines)
    cursor = connection.connection.cursor()
    try:
        cursor.copy_expert(statement, made)
    except psycopg2.Error as error:
        # To Postgres it is only a COPY that was given up; the reason is what counts.
        raise made.fault or error from None
    finally:
        cursor.close()


class _Lines:
    """Lines as a file that psycopg2 reads from."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.fault: BaseException | None = None
        """What ended them too early; psycopg2 would only repeat its text."""

    def read(self, _size: int) -> str:
        """The next few lines; nothing when there are no more."""
        try:
            return "".join(islice(self._lines, _LINES_AT_ONCE))
        except BaseException as fault:
            self.fault = fault
            raise

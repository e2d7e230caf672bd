"""Many values as one parameter: array literals and COPY lines, made by hand for speed.

psycopg2 adapts a list element by element, which costs more than the statement.
"""

from collections.abc import Iterable
from typing import Final

NULL: Final = r"\N"
"""How COPY writes a null."""

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
    return NULL if value is None else value.translate(_COPY_ESCAPES)

"""PaySim's rows, read from a CSV file that anybody may have written."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from itertools import islice
from pathlib import Path
from typing import Final

from ops.errors import OperatorError

EXCERPT: Final = Path(__file__).parent / "data" / "paysim-2k.csv"

CURRENCY: Final = "KES"
_MINOR_PER_UNIT: Final = 100

# A customer pays a merchant, sends money to another, or cashes out: an agent hands out cash
# and is credited in return. Cash comes in at an agent too, but the file does not tell what
# agents hold, so it is a deposit. A debit goes to the customer's bank.
TYPES: Final = {
    "PAYMENT": "transfer",
    "TRANSFER": "transfer",
    "CASH_OUT": "transfer",
    "CASH_IN": "deposit",
    "DEBIT": "withdrawal",
}
"""How each type of row becomes an instruction."""

_COLUMNS: Final = ("type", "amount", "nameOrig", "oldbalanceOrg", "nameDest")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_LARGEST_MINOR: Final = 10**15
_DIGITS_MOST: Final = 24
_SUM_MOST_MINOR: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """One row: an order to move money. Amounts in minor units, 100 to the shilling.

    `opening_minor` is what the origin held before the row. `destination` is None where the
    money comes from or goes to the world outside.
    """

    number: int
    type: str
    amount_minor: int
    origin: str
    opening_minor: int
    destination: str | None


def read_rows(path: Path, limit: int | None = None) -> list[Row]:
    """The first `limit` rows of a file, or all.

    Raises: OperatorError, naming the row that is bad.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(islice(_rows(file, path.name), limit))
    except OSError as error:
        raise OperatorError(
            f"{path} cannot be read: {error.strerror}.", "Give --file the path of a CSV file."
        ) from None
    except UnicodeDecodeError:
        raise OperatorError(f"{path.name} is not a text file in UTF-8.") from None
    if not rows:
        raise OperatorError(f"{path.name} has no rows.")
    _refuse_what_cannot_be_followed(rows, path.name)
    return rows


def _rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    reader = csv.DictReader(lines, strict=True)
    number = 0
    try:
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise OperatorError(
                f"{name} is not PaySim's CSV: its first line lacks {', '.join(missing)}."
            )
        for number, fields in enumerate(reader, start=1):
            yield _row(number, fields)
    except csv.Error as error:
        raise OperatorError(f"{name}, row {number + 1}: not CSV ({error}).") from None
    except _Bad as bad:
        raise OperatorError(f"{name}, row {number} (line {reader.line_num}): {bad}.") from None


class _Bad(ValueError):
    """What is wrong with a row."""


def _row(number: int, fields: dict[str, str]) -> Row:
    if None in fields or None in fields.values():
        raise _Bad("it has another number of fields than the first line")
    kind = TYPES.get(fields["type"])
    if kind is None:
        raise _Bad(f"type {fields['type'][:40]!r} is none of {', '.join(TYPES)}")
    origin, destination = (fields[column] for column in ("nameOrig", "nameDest"))
    for name in (origin, destination):
        if not _NAME.fullmatch(name):
            raise _Bad(f"{name[:40]!r} is not a name of letters and digits")
    if origin == destination:
        raise _Bad(f"{origin} is both origin and destination")
    amount_minor = _minor(fields, "amount")
    if amount_minor == 0:
        raise _Bad("amount is 0")
    opening_minor = _minor(fields, "oldbalanceOrg")
    to = destination if kind == "transfer" else None
    return Row(number, kind, amount_minor, origin, opening_minor, to)


def _minor(fields: dict[str, str], column: str) -> int:
    """An amount such as 9839.64 or 1.00E+07 in minor units."""
    text = fields[column]
    try:
        # Longer texts would be rounded to the precision that decimals have.
        minor = Decimal(text[:_DIGITS_MOST]) * _MINOR_PER_UNIT
    except DecimalException:
        raise _Bad(f"{column} {text[:40]!r} is not a number") from None
    if len(text) > _DIGITS_MOST:
        raise _Bad(f"{column} {text[:40]!r} is too long")
    if not minor.is_finite() or not 0 <= minor <= _LARGEST_MINOR:
        raise _Bad(f"{column} {text[:40]!r} is not between 0 and {_LARGEST_MINOR // 100}")
    if minor != minor.to_integral_value():
        raise _Bad(f"{column} {text[:40]!r} has more than two decimals")
    return int(minor)


def _refuse_what_cannot_be_followed(rows: list[Row], name: str) -> None:
    """Credits have no promised place among a wallet's debits, so a replay could not tell
    the outcomes of a name that is both.
    """
    origins: dict[str, int] = {}
    for row in rows:
        origins.setdefault(row.origin, row.number)
    for row in rows:
        if row.destination in origins:
            raise OperatorError(
                f"{name}, row {row.number}: {row.destination} is a destination here and the "
                f"origin of row {origins[row.destination]}, so the outcomes would depend on "
                "which comes first."
            )
    if sum(row.amount_minor + row.opening_minor for row in rows) > _SUM_MOST_MINOR:
        raise OperatorError(f"{name}: the amounts together are more than a wallet can hold.")

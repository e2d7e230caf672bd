"""What must come of the rows, by arithmetic that shares nothing with the ledger's."""

from collections.abc import Iterable
from dataclasses import dataclass

from ops.demo.rows import Row

SUCCEEDED = "succeeded"
INSUFFICIENT = "insufficient_funds"


@dataclass(frozen=True, slots=True)
class Replay:
    """Outcomes by row number, and the balance in minor units that each name ends with."""

    outcomes: dict[int, str]
    balances: dict[str, int]


def replay(rows: Iterable[Row]) -> Replay:
    """Follow the rows with a pencil: an origin starts with what its first row says it holds."""
    outcomes: dict[int, str] = {}
    balances: dict[str, int] = {}
    for row in rows:
        held = balances.setdefault(row.origin, row.opening_minor)
        if row.destination is not None:
            balances.setdefault(row.destination, 0)
        if row.type == "deposit":
            balances[row.origin] = held + row.amount_minor
        elif held < row.amount_minor:
            outcomes[row.number] = INSUFFICIENT
            continue
        else:
            balances[row.origin] = held - row.amount_minor
            if row.destination is not None:
                balances[row.destination] += row.amount_minor
        outcomes[row.number] = SUCCEEDED
    return Replay(outcomes, balances)

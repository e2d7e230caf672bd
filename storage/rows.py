"""A decision as a row of `instructions`: written as a line of COPY, read back as an outcome."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from domain.books import Books, Decision, Entry, Outcome
from domain.fields import timestamp_text
from domain.instructions import Deposit, Money, Transfer, is_money
from domain.rejections import Rejection
from storage.arrays import NULL, copied

SAVE_INSTRUCTIONS: Final = """
    COPY instructions (
        id, client_id, idempotency_key, fingerprint, type, submitted_at, decided_at,
        partition, position, rejection, source_seq, source_wallet_id, destination_wallet_id,
        amount, currency, reference, metadata, expires_at,
        source_balance, destination_seq, destination_balance
    ) FROM STDIN
"""

_NO_MONEY: Final = "\t".join([NULL] * 10)
_NO_LEGS: Final = "\t".join([NULL] * 3)


def copy_lines(
    decisions: Iterable[Decision], books: Books, partition: int, position: int
) -> Iterator[str]:
    """Every decision as a line of COPY, in the order of the columns above."""
    for place, (instruction, outcome, _) in enumerate(decisions, start=position + 1):
        rejection = outcome.rejection
        refused = NULL if rejection is None else copied(json.dumps(rejection.stored()))
        source_seq = NULL if outcome.source_seq is None else outcome.source_seq
        money = _money_fields(instruction, outcome, books) if is_money(instruction) else _NO_MONEY
        yield (
            f"{instruction.id}\t{instruction.client_id}\t{copied(instruction.idempotency_key)}"
            f"\t\\\\x{instruction.fingerprint}\t{instruction.type}"
            f"\t{instruction.submitted_at}\t{outcome.decided_at}\t{partition}\t{place}"
            f"\t{refused}\t{source_seq}\t{money}\n"
        )


def _money_fields(instruction: Money, outcome: Outcome, books: Books) -> str:
    data = instruction.data
    if outcome.entries:
        source, destination = outcome.entries
        legs = f"{source.balance}\t{destination.seq}\t{destination.balance}"
    else:
        legs = _NO_LEGS
    debited, credited = _sides(instruction, books)
    metadata = NULL if data.metadata is None else copied(json.dumps(data.metadata))
    expires_at = NULL if data.expires_at is None else timestamp_text(data.expires_at)
    return (
        f"{debited}\t{credited}\t{data.amount}\t{data.currency}"
        f"\t{copied(data.reference)}\t{metadata}\t{expires_at}\t{legs}"
    )


def _sides(instruction: Money, books: Books) -> tuple[str, str]:
    """Ids of the wallets to debit and to credit, whether they exist or not."""
    if isinstance(instruction, Transfer):
        return instruction.data.source_wallet_id, instruction.data.destination_wallet_id
    settlement = books.settlements[instruction.client_id, instruction.data.currency]
    if isinstance(instruction, Deposit):
        return settlement, instruction.data.wallet_id
    return instruction.data.wallet_id, settlement


def restored_outcome(row: Any) -> Outcome:
    """The outcome that a row of `instructions` holds."""
    entries: tuple[Entry, ...] = ()
    if row.source_balance is not None:
        entries = (
            Entry(row.source_wallet_id, row.source_seq, -row.amount, row.source_balance),
            Entry(
                row.destination_wallet_id,
                row.destination_seq,
                row.amount,
                row.destination_balance,
            ),
        )
    rejection = None if row.rejection is None else Rejection.restored(row.rejection)
    fingerprint = bytes(row.fingerprint).hex()
    return Outcome(
        row.id,
        fingerprint,
        timestamp_text(row.submitted_at),
        timestamp_text(row.decided_at),
        rejection,
        entries,
        row.source_seq,
    )

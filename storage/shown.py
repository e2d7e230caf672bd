"""Decided instructions as their rows show them: to a poll, in a list of entries, in an event."""

from typing import Any, Final, NamedTuple

from domain.books import Entry
from domain.fields import timestamp_text
from domain.instructions import INSTRUCTIONS
from domain.money import EXPONENTS
from domain.views import Viewed, outcome_view
from storage.rows import restored_outcome

# An outcome shows only the wallets that its reader may see, and no settlement account.
SHOWN_INSTRUCTIONS: Final = """
    SELECT instruction.*,
           CASE WHEN instruction.type IN ('customer.open', 'wallet.open') THEN (
               SELECT data FROM openings WHERE openings.instruction_id = instruction.id
           ) END AS opening,
           ARRAY(
               SELECT wallet.id FROM wallets AS wallet
               WHERE wallet.id IN (source_wallet_id, destination_wallet_id)
                 AND wallet.customer_id IS NOT NULL
                 AND (wallet.client_id = :client_id OR EXISTS (
                     SELECT FROM grants
                     WHERE grants.wallet_id = wallet.id AND grants.client_id = :client_id))
           ) AS readable
    FROM instructions AS instruction
"""
"""The rows that `instruction_view` takes, for the reader `client_id`. Who may read an
instruction at all is for the WHERE that follows to say."""


def instruction_view(row: Any) -> dict[str, Any]:
    """A decided instruction as its submitter sees it, with the rights of now."""
    readable = frozenset(row.readable)
    outcome = restored_outcome(row)
    return outcome_view(_restored(row, outcome.submitted_at), outcome, readable.__contains__)


def entry_view(row: Any, entry: Entry, counterparty: str, client_id: int) -> dict[str, Any]:
    """One entry of the instruction in `row`, as `client_id`, who may read its wallet, sees it."""
    settlement = row.type in ("deposit", "withdrawal")
    return {
        "seq": entry.seq,
        "amount": entry.amount,
        "balance": entry.balance,
        "currency": row.currency,
        "exponent": EXPONENTS[row.currency],
        "instruction_id": row.id,
        "type": row.type,
        "counterparty_wallet_id": None if settlement else counterparty,
        "reference": row.reference,
        "metadata": row.metadata if row.client_id == client_id else None,
        "posted_at": timestamp_text(row.decided_at),
    }


class _StoredMoney(NamedTuple):
    """A deposit, withdrawal or transfer as its row holds it: valid, or it would not be there."""

    id: str
    idempotency_key: str
    type: str
    submitted_at: str
    data: dict[str, Any]

    def completed_data(self) -> dict[str, Any]:
        return self.data


def _restored(row: Any, submitted_at: str) -> Viewed:
    """The instruction whose outcome a row of `instructions` holds."""
    if row.opening is None:
        return _StoredMoney(row.id, row.idempotency_key, row.type, submitted_at, _money_data(row))
    return INSTRUCTIONS[row.type].model_validate(
        {
            "client_id": row.client_id,
            "idempotency_key": row.idempotency_key,
            "fingerprint": bytes(row.fingerprint).hex(),
            "submitted_at": submitted_at,
            "data": row.opening,
        }
    )


def _money_data(row: Any) -> dict[str, Any]:
    """What the client said, with absent optional fields left out."""
    match row.type:
        case "transfer":
            data = {
                "source_wallet_id": row.source_wallet_id,
                "destination_wallet_id": row.destination_wallet_id,
            }
        case "deposit":
            data = {"wallet_id": row.destination_wallet_id}
        case _:
            data = {"wallet_id": row.source_wallet_id}
    data |= {"amount": row.amount, "currency": row.currency}
    if row.reference is not None:
        data["reference"] = row.reference
    if row.metadata is not None:
        data["metadata"] = row.metadata
    if row.expires_at is not None:
        data["expires_at"] = timestamp_text(row.expires_at)
    return data

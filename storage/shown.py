"""Decided instructions as their rows show them: to a poll, in a list of entries, in an event."""

from typing import Any, Final

from domain.books import Entry
from domain.fields import timestamp_text
from domain.instructions import INSTRUCTIONS, Instruction
from domain.money import EXPONENTS
from domain.views import outcome_view
from storage.rows import restored_outcome

# An outcome shows only the wallets that its reader may see, and no settlement account.
SHOWN_INSTRUCTIONS: Final = """
    SELECT instruction.*, opening.data AS opening,
           ARRAY(
               SELECT wallet.id FROM wallets AS wallet
               WHERE wallet.id IN (source_wallet_id, destination_wallet_id)
                 AND wallet.customer_id IS NOT NULL
                 AND (wallet.client_id = :client_id OR EXISTS (
                     SELECT FROM grants
                     WHERE grants.wallet_id = wallet.id AND grants.client_id = :client_id))
           ) AS readable
    FROM instructions AS instruction
    LEFT JOIN openings AS opening ON opening.instruction_id = instruction.id
"""
"""The rows that `instruction_view` takes, for the reader `client_id`. Who may read an
instruction at all is for the WHERE that follows to say."""


def instruction_view(row: Any) -> dict[str, Any]:
    """A decided instruction as its submitter sees it, with the rights of now."""
    readable = frozenset(row.readable)
    return outcome_view(_restored(row), restored_outcome(row), readable.__contains__)


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


def _restored(row: Any) -> Instruction:
    """The instruction whose outcome a row of `instructions` holds."""
    if row.opening is not None:
        data = row.opening
    else:
        data = {
            "amount": row.amount,
            "currency": row.currency,
            "reference": row.reference,
            "metadata": row.metadata,
            "expires_at": None if row.expires_at is None else timestamp_text(row.expires_at),
        }
        match row.type:
            case "transfer":
                data["source_wallet_id"] = row.source_wallet_id
                data["destination_wallet_id"] = row.destination_wallet_id
            case "deposit":
                data["wallet_id"] = row.destination_wallet_id
            case "withdrawal":
                data["wallet_id"] = row.source_wallet_id
    return INSTRUCTIONS[row.type].model_validate(
        {
            "client_id": row.client_id,
            "idempotency_key": row.idempotency_key,
            "fingerprint": bytes(row.fingerprint).hex(),
            "submitted_at": timestamp_text(row.submitted_at),
            "data": data,
        }
    )

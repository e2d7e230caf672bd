"""Instructions as those who may see them see them: one shape for polls, waits and events."""

from collections.abc import Callable
from typing import Any

from domain.books import Outcome
from domain.instructions import CustomerOpen, Instruction, WalletOpen
from domain.money import EXPONENTS


def queued_view(instruction: Instruction, status: str = "queued") -> dict[str, Any]:
    """An instruction that has no outcome yet: `queued`, or `parked`."""
    return {
        "id": instruction.id,
        "idempotency_key": instruction.idempotency_key,
        "type": instruction.type,
        "status": status,
        "submitted_at": instruction.submitted_at,
        "data": instruction.completed_data(),
    }


def outcome_view(
    instruction: Instruction, outcome: Outcome, may_read: Callable[[str], bool]
) -> dict[str, Any]:
    """A decided instruction.

    `may_read` tells which wallets the reader may see: a payer who does not own the
    payee's wallet learns nothing about it.
    """
    view = queued_view(instruction, outcome.status)
    view["submitted_at"] = outcome.submitted_at
    view["decided_at"] = outcome.decided_at
    if outcome.rejection is not None:
        view["result"] = None
        view["rejection"] = outcome.rejection.view()
    else:
        view["result"] = _result(instruction, outcome, may_read)
        view["rejection"] = None
    return view


def _result(
    instruction: Instruction, outcome: Outcome, may_read: Callable[[str], bool]
) -> dict[str, Any]:
    if isinstance(instruction, CustomerOpen):
        wallets = [
            {"wallet_id": wallet_id, "currency": currency, "exponent": EXPONENTS[currency]}
            for wallet_id, currency in instruction.wallets()
        ]
        return {"customer_id": instruction.customer_id, "wallets": wallets}
    if isinstance(instruction, WalletOpen):
        return {"wallet_id": instruction.wallet_id}
    currency = instruction.data.currency
    exponent = EXPONENTS[currency]
    return {
        "entries": [
            {
                "wallet_id": entry.wallet_id,
                "seq": entry.seq,
                "amount": entry.amount,
                "balance": entry.balance,
                "currency": currency,
                "exponent": exponent,
            }
            for entry in outcome.entries
            if may_read(entry.wallet_id)
        ]
    }

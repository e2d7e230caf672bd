"""Instructions as those who may see them see them: one shape for polls, waits and events."""

from collections.abc import Callable
from typing import Any, Protocol

from domain.books import Outcome
from domain.instructions import CustomerOpen, WalletOpen
from domain.money import EXPONENTS


class Viewed(Protocol):
    """What is shown of an instruction: of one that was decoded, or of a row that holds one."""

    @property
    def id(self) -> str:
        """Derived from client and key."""

    @property
    def idempotency_key(self) -> str:
        """The client's."""

    @property
    def type(self) -> str:
        """Its public name."""

    @property
    def submitted_at(self) -> str:
        """RFC 3339 in UTC."""

    def completed_data(self) -> dict[str, Any]:
        """The data as given, with the ids we chose."""


def queued_view(instruction: Viewed, status: str = "queued") -> dict[str, Any]:
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
    instruction: Viewed, outcome: Outcome, may_read: Callable[[str], bool]
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
        view["result"] = _result(instruction, outcome, may_read, view["data"])
        view["rejection"] = None
    return view


def _result(
    instruction: Viewed, outcome: Outcome, may_read: Callable[[str], bool], data: dict[str, Any]
) -> dict[str, Any]:
    # Money that moved left entries, and need not be asked what it opened.
    if not outcome.entries and isinstance(instruction, CustomerOpen):
        wallets = [
            {"wallet_id": wallet_id, "currency": currency, "exponent": EXPONENTS[currency]}
            for wallet_id, currency in instruction.wallets()
        ]
        return {"customer_id": instruction.customer_id, "wallets": wallets}
    if not outcome.entries and isinstance(instruction, WalletOpen):
        return {"wallet_id": instruction.wallet_id}
    currency = data["currency"]
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

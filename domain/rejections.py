"""Why a well-formed instruction was refused.

A rejection is an answer: stored, replayed, final. A fault is an exception: it rolls the
batch back. Transient trouble never becomes a rejection.
"""

from enum import StrEnum
from typing import Any, NamedTuple


class Code(StrEnum):
    """Rejection codes, in the order in which the rules are checked."""

    EXPIRED = "expired"
    SAME_WALLET = "same_wallet"
    CUSTOMER_NOT_FOUND = "customer_not_found"
    WALLET_NOT_FOUND = "wallet_not_found"
    SOURCE_NOT_FOUND = "source_not_found"
    NOT_PERMITTED = "not_permitted"
    CUSTOMER_EXISTS = "customer_exists"
    WALLET_EXISTS = "wallet_exists"
    DESTINATION_NOT_FOUND = "destination_not_found"
    CURRENCY_MISMATCH = "currency_mismatch"
    WALLET_FROZEN = "wallet_frozen"
    WALLET_CLOSED = "wallet_closed"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    BALANCE_OVERFLOW = "balance_overflow"
    OPERATOR_REJECTED = "operator_rejected"


DETAILS: dict[Code, str] = {
    Code.EXPIRED: "It was not decided before expires_at.",
    Code.SAME_WALLET: "Source and destination are the same wallet.",
    Code.CUSTOMER_NOT_FOUND: "There is no such customer.",
    Code.WALLET_NOT_FOUND: "There is no such wallet.",
    Code.SOURCE_NOT_FOUND: "There is no such source wallet.",
    Code.NOT_PERMITTED: "This client has no right to do that.",
    Code.CUSTOMER_EXISTS: "A customer with this id exists already.",
    Code.WALLET_EXISTS: "A wallet with this id exists already.",
    Code.DESTINATION_NOT_FOUND: "There is no such destination wallet.",
    Code.CURRENCY_MISMATCH: "The wallet holds another currency.",
    Code.WALLET_FROZEN: "The wallet is frozen.",
    Code.WALLET_CLOSED: "The wallet is closed.",
    Code.INSUFFICIENT_FUNDS: "The wallet has too little money.",
    Code.BALANCE_OVERFLOW: "The balance would grow beyond what can be held.",
    Code.OPERATOR_REJECTED: "An operator rejected it.",
}
"""What each code says to a person. It tells no more than the code does."""


class Rejection(NamedTuple):
    """A code with the facts behind it; amounts in minor units."""

    code: Code
    wallet_id: str | None = None
    customer_id: str | None = None
    available: int | None = None
    required: int | None = None

    def view(self) -> dict[str, Any]:
        """As the submitter sees it, with numbers as fields."""
        facts = {k: v for k, v in self._asdict().items() if v is not None and k != "code"}
        return {"code": self.code.value, "detail": DETAILS[self.code], **facts}

    def stored(self) -> dict[str, Any]:
        """As the ledger keeps it: the facts, without the prose."""
        return {k: v for k, v in self._asdict().items() if v is not None}

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> "Rejection":
        """The inverse of `stored`."""
        return cls(**{**stored, "code": Code(stored["code"])})

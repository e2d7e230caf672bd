"""One message of each kind, for the AsyncAPI document; tests hold them to its schemas."""

from typing import Any, Final

from domain.events import EventType
from domain.problems import problem_document

Example = dict[str, Any]

_CUSTOMER: Final = "0a000000-0000-4000-8000-000000000001"
_WALLET: Final = "0a000000-0000-4000-8000-000000000002"
_OTHER_WALLET: Final = "0b000000-0000-4000-8000-000000000002"
_INSTRUCTION: Final = "6f3c1f1e-9a52-8d0a-b1c4-3f6a5c0d9e21"
_EVENT: Final = "0d5e7a44-6c1b-8f3e-9a70-5b2c8e41d6f0"
_AT: Final = "2026-11-24T10:00:00.000Z"
_DECIDED_AT: Final = "2026-11-24T10:00:00.021Z"

_MONEY: Final = {"amount": 25_000, "currency": "KES"}

_DATA: Final[dict[str, Example]] = {
    "customer.open": {
        "customer_id": _CUSTOMER,
        "name": "Anna Wanjiru",
        "phone": "+254700000001",
        "country": "KE",
        "currencies": ["KES"],
    },
    "wallet.open": {"wallet_id": _WALLET, "customer_id": _CUSTOMER, "currency": "KES"},
    "deposit": {"wallet_id": _WALLET, **_MONEY, "reference": "salary November"},
    "withdrawal": {"wallet_id": _WALLET, **_MONEY, "metadata": {"payout": "P-77"}},
    "transfer": {
        "source_wallet_id": _WALLET,
        "destination_wallet_id": _OTHER_WALLET,
        **_MONEY,
        "reference": "rent",
        "expires_at": "2026-11-24T10:05:00.000Z",
    },
}

_KEYS: Final = {
    "customer.open": "customer-1",
    "wallet.open": "customer-1-wallet-1",
    "deposit": "invoice-4711",
    "withdrawal": "payout-77",
    "transfer": "rent-2026-11",
}


def instruction(name: str) -> Example:
    """A message that gives an instruction of this type."""
    return {"version": 1, "idempotency_key": _KEYS[name], "type": name, "data": _DATA[name]}


def event(kind: EventType) -> Example:
    """An event of this type, as it is read from the queue."""
    at = _AT if kind in (EventType.ACCEPTED, EventType.REFUSED) else _DECIDED_AT
    return {
        "version": 1,
        "id": _EVENT,
        "type": kind.value,
        "timestamp": at,
        "data": _told(kind),
    }


def _told(kind: EventType) -> Example:
    match kind:
        case EventType.ACCEPTED:
            return _deposit("queued")
        case EventType.REFUSED:
            return _refusal()
        case EventType.SUCCEEDED:
            return _deposit("succeeded") | {"result": {"entries": [_entry()]}, "rejection": None}
        case EventType.REJECTED:
            return _deposit("rejected") | {
                "result": None,
                "rejection": {
                    "code": "wallet_not_found",
                    "detail": "There is no such wallet.",
                    "wallet_id": _WALLET,
                },
            }
        case EventType.PARKED:
            return _deposit("parked")
        case EventType.ENTRY_POSTED:
            return {
                **_entry(),
                "instruction_id": _INSTRUCTION,
                "type": "deposit",
                "counterparty_wallet_id": None,
                "reference": "salary November",
                "metadata": None,
                "posted_at": _DECIDED_AT,
            }


def _deposit(status: str) -> Example:
    decided = {"decided_at": _DECIDED_AT} if status in ("succeeded", "rejected") else {}
    return {
        "id": _INSTRUCTION,
        "idempotency_key": _KEYS["deposit"],
        "type": "deposit",
        "status": status,
        "submitted_at": _AT,
        "data": _DATA["deposit"],
        **decided,
    }


def _entry() -> Example:
    return {"wallet_id": _WALLET, "seq": 7, **_MONEY, "balance": 75_000, "exponent": 2}


def _refusal() -> Example:
    errors = [{"pointer": "/data/amount", "detail": "Input should be greater than or equal to 1"}]
    return {
        "problem": problem_document("invalid_body", _EVENT, errors=errors),
        "idempotency_key": _KEYS["deposit"],
        "message_id": _KEYS["deposit"],
        "body_sha256": "9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab",
    }

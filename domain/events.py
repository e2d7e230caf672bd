"""What is told to clients: one shape for callbacks, partner queues and `GET /v1/events`.

An event is named by what it tells, so that every repeat of it has the same id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from functools import cached_property
from typing import Any, Final

from pydantic_core import to_json

from domain.identity import derived_id

VERSION: Final = 1

_PERSONAL: Final = frozenset({"name", "phone", "email"})


class EventType(StrEnum):
    """Every type of event, as the contract names it."""

    ACCEPTED = "instruction.accepted"
    """To a partner: the receipt."""
    REFUSED = "instruction.refused"
    """To a partner: what it sent is no instruction that could be accepted."""
    SUCCEEDED = "instruction.succeeded"
    REJECTED = "instruction.rejected"
    PARKED = "instruction.parked"
    ENTRY_POSTED = "entry.posted"
    """To every client that may read the wallet."""


CALLBACK_TYPES: Final = (
    EventType.SUCCEEDED,
    EventType.REJECTED,
    EventType.PARKED,
    EventType.ENTRY_POSTED,
)
"""Those that an endpoint can ask for; receipts go to partners' queues alone."""


class Shows(IntFlag):
    """What of one decided instruction a client is told; each bit is one event."""

    SUCCEEDED = 1
    REJECTED = 2
    DEBIT = 4
    CREDIT = 8

    @property
    def type(self) -> EventType:
        """The event of a single bit."""
        return _TYPES[self]


_TYPES: Final = {
    Shows.SUCCEEDED: EventType.SUCCEEDED,
    Shows.REJECTED: EventType.REJECTED,
    Shows.DEBIT: EventType.ENTRY_POSTED,
    Shows.CREDIT: EventType.ENTRY_POSTED,
}


@dataclass(frozen=True)
class Event:
    """One event for one client, complete. `timestamp` is RFC 3339 text in UTC."""

    id: str
    type: EventType
    timestamp: str
    data: dict[str, Any] = field(repr=False)

    @cached_property
    def document(self) -> bytes:
        """The envelope as JSON: the same bytes wherever it is stored and sent."""
        return to_json(self.envelope())

    def envelope(self) -> dict[str, Any]:
        """The document that is sent."""
        return {
            "version": VERSION,
            "id": self.id,
            "type": self.type.value,
            "timestamp": self.timestamp,
            "data": self.data,
        }


def instruction_event_id(client_id: int, instruction_id: str, shows: Shows) -> str:
    """The id of what one bit tells one client of one instruction."""
    return derived_id("event", client_id, instruction_id, shows.value)


def without_personal_data(view: Mapping[str, Any]) -> dict[str, Any]:
    """An instruction as events, and polls without scopes of customers, show it: no name, no email,
    no phone (contract, Events and Reading).
    """
    data = {name: value for name, value in view["data"].items() if name not in _PERSONAL}
    return {**view, "data": data}

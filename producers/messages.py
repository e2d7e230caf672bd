"""What is handed to the publisher, and what it says when it cannot promise anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Reason = Literal["nacked", "returned", "closed", "timeout", "blocked", "unavailable"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message: a JSON body, where it goes, and its name, by which a return finds it.

    `type` is AMQP's property of that name, for readers who choose before they decode. The body
    may tell of a person, and is left out of a repr.
    """

    exchange: str
    routing_key: str
    body: bytes = field(repr=False)
    message_id: str
    headers: Mapping[str, Any] | None = None
    type: str | None = None


class Unconfirmed(Exception):
    """The broker has not promised to keep a message; whoever wants it kept publishes it again.

    `reason` is one of
    - nacked: the broker refused it, as a full queue does;
    - returned: no queue is bound for it;
    - closed, timeout: it was sent, and whether the broker has it is unknown;
    - blocked, unavailable: it was not sent, since the broker is short of memory or disk, or
      away, or too much is waiting already.

    The caller need not tell them apart: repeating the same message is right after each.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason

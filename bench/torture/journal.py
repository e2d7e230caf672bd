"""What the driver of a run was told: every request it sent and every answer it got.

Times are seconds of one monotonic clock, the driver's, so that "before" means something.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from domain.events import without_personal_data

ACCEPTED: Final = "accepted"
UNKNOWN: Final = "unknown"
REFUSED: Final = "refused"

FEED: Final = "feed"
CALLBACK: Final = "callback"
PARTNER: Final = "partner"
"""Channels over which events are told."""

MISSING: Final = "missing"
"""What a poll saw that was answered 404."""

FINAL: Final = frozenset({"succeeded", "rejected"})


class Item(NamedTuple):
    """One instruction as it was sent: `fingerprint` tells two bodies of one id apart.

    `order_key` names the wallet or customer whose order it has a place in. `sound` says that
    it is well-formed and its key is used for this body alone, so that it must not be refused.
    """

    id: str
    fingerprint: str
    order_key: str
    sound: bool


class Sent(NamedTuple):
    """A request or a publish: its items in order, and the door they were brought to."""

    at: float
    attempt: int
    door: str
    client_id: int
    items: tuple[Item, ...]


class Answered(NamedTuple):
    """What became of a request: one verdict for each item, and the HTTP status if there was one.

    A verdict is `accepted`, `unknown`, or `refused:` and the problem's code.
    """

    at: float
    attempt: int
    status: int
    verdicts: tuple[str, ...]


class Seen(NamedTuple):
    """A state of an instruction that a client saw over some channel.

    `asked_at` is when it asked, or when it was told unasked. `essence` is the outcome as
    `essence_of` writes it, empty where only the status was told.
    """

    at: float
    asked_at: float
    channel: str
    client_id: int
    id: str
    status: str
    essence: str


class Told(NamedTuple):
    """An event that reached a client over its queue, its endpoint or the feed."""

    at: float
    channel: str
    client_id: int
    event_id: str
    type: str
    instruction_id: str
    digest: str


class Listener(NamedTuple):
    """A channel over which a client is told of every event of its own."""

    channel: str
    client_id: int


@dataclass(slots=True)
class Journal:
    """All of a run, in the order in which it happened."""

    sent: list[Sent] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
    poison: list[str] = field(default_factory=list)
    """Digests of what was put into partition queues though it is no instruction."""
    ended_by_themselves: list[str] = field(default_factory=list)
    """Processes that ended though no fault had asked them to."""
    _essences: dict[str, str] = field(default_factory=dict, repr=False)

    def see(
        self,
        at: float,
        asked_at: float,
        channel: str,
        client_id: int,
        document: Mapping[str, Any],
    ) -> None:
        """Note an instruction's document as it was shown."""
        status = str(document["status"])
        essence = essence_of(document) if status in FINAL else ""
        # One outcome is seen many times: its text is kept once.
        essence = self._essences.setdefault(essence, essence)
        self.seen.append(Seen(at, asked_at, channel, client_id, document["id"], status, essence))

    def save(self, path: Path) -> None:
        """Write it as lines of JSON, each a kind and its fields."""
        with path.open("w") as file:
            for kind in _KINDS:
                for record in getattr(self, kind):
                    file.write(json.dumps([kind, record]) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """The inverse of `save`."""
        journal = cls()
        with path.open() as file:
            for line in file:
                kind, record = json.loads(line)
                getattr(journal, kind).append(_KINDS[kind](record))
        return journal


def essence_of(document: Mapping[str, Any]) -> str:
    """What must be equal on every channel, as text: no name, no phone, no email in it."""
    shown = without_personal_data(document)
    return json.dumps(
        {
            name: shown.get(name)
            for name in (
                "id",
                "idempotency_key",
                "type",
                "status",
                "submitted_at",
                "decided_at",
                "data",
                "result",
                "rejection",
            )
        },
        sort_keys=True,
        separators=(",", ":"),
    )


def refused(code: str) -> str:
    """The verdict of an item that was refused with this code."""
    return f"{REFUSED}:{code}"


def _sent(record: Sequence[Any]) -> Sent:
    at, attempt, door, client_id, items = record
    return Sent(at, attempt, door, client_id, tuple(Item(*item) for item in items))


def _answered(record: Sequence[Any]) -> Answered:
    at, attempt, status, verdicts = record
    return Answered(at, attempt, status, tuple(verdicts))


_KINDS: Final[dict[str, Any]] = {
    "sent": _sent,
    "answered": _answered,
    "seen": lambda record: Seen(*record),
    "told": lambda record: Told(*record),
    "listeners": lambda record: Listener(*record),
    "poison": str,
    "ended_by_themselves": str,
}

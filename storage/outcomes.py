"""What Redis remembers of instructions for a while, so that polls need no Postgres.

Redis never decides anything: what it has lost costs a slower answer. Every call is
bounded in time and none raises (`docs/decisions/0030-redis-is-a-help.md`).
"""

import contextlib
import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from domain.instructions import Instruction
from storage.redis_link import RedisLink, SetCommand, packed

DECIDED_CHANNEL: Final = b"tekana:decided"
"""Carries the ids of instructions that were put, joined by spaces."""

FINAL: Final = frozenset({"succeeded", "rejected"})
"""The statuses that never change again."""


class Noted(NamedTuple):
    """What is remembered of one instruction. `view` is its JSON as its submitter sees it."""

    client_id: int
    fingerprint: str
    status: str
    view: bytes

    def __repr__(self) -> str:
        """Without the view, which may tell of a person."""
        return f"Noted(client_id={self.client_id}, status={self.status!r})"

    @property
    def decided(self) -> bool:
        """Whether this is the outcome. Anything else is never an answer by itself."""
        return self.status in FINAL


class Put(NamedTuple):
    """What to remember of one instruction from now on."""

    id: str
    client_id: int
    fingerprint: str
    status: str
    view: bytes

    def __repr__(self) -> str:
        """Without the view, which may tell of a person."""
        return f"Put(id={self.id!r}, status={self.status!r})"


class Outcomes:
    """Notes and outcomes by instruction id, each for `ttl_s` after it was written."""

    def __init__(self, redis_url: str, ttl_s: int) -> None:
        self._link = RedisLink(redis_url)
        expiry = b"EX", str(ttl_s).encode()
        self._put = SetCommand(*expiry)
        self._note = SetCommand(b"NX", b"GET", *expiry)

    def note(self, items: Sequence[tuple[Instruction, bytes]]) -> list[Noted | None]:
        """Note that these are about to be published, each with its queued view.

        Returns what was known of each before, which the note does not replace, and None
        where nothing was known or Redis is away. Of two items of one id, the second is
        told of the first.
        """
        before = self._link.ask(
            [
                self._note.packed(
                    _key(instruction.id),
                    _value(instruction.client_id, instruction.fingerprint, "queued", view),
                )
                for instruction, view in items
            ]
        )
        return [None] * len(items) if before is None else [_noted(value) for value in before]

    def put(self, items: Sequence[Put]) -> None:
        """Remember what became of these, in place of what was known, and tell who waits."""
        if not items:
            return
        commands = [
            self._put.packed(
                _key(item.id), _value(item.client_id, item.fingerprint, item.status, item.view)
            )
            for item in items
        ]
        commands.append(packed(b"PUBLISH", DECIDED_CHANNEL, _joined(item.id for item in items)))
        self._link.tell(commands)

    def get(self, instruction_id: str) -> Noted | None:
        """What is known of one instruction; None if nothing is, or Redis is away."""
        answers = self._link.ask([packed(b"GET", _key(instruction_id))])
        return _noted(answers[0]) if answers else None

    def reachable(self) -> bool:
        """Whether Redis answers."""
        return self._link.ask([packed(b"PING")]) == [b"PONG"]

    def close(self) -> None:
        """Close the idle connections."""
        self._link.close()


def as_first_said(instruction: Instruction, noted: Noted) -> Instruction:
    """An instruction that was noted before, with the time at which it was first submitted."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        first = json.loads(noted.view)["submitted_at"]
        return instruction.model_copy(update={"submitted_at": first})
    return instruction


def _key(instruction_id: str) -> bytes:
    return b"i:" + instruction_id.encode()


def _joined(ids: Iterable[str]) -> bytes:
    return " ".join(ids).encode()


def _value(client_id: int, fingerprint: str, status: str, view: bytes) -> bytes:
    return b"%d %b %b\n%b" % (client_id, fingerprint.encode(), status.encode(), view)


def _noted(value: object) -> Noted | None:
    if not isinstance(value, bytes):
        return None
    head, _, view = value.partition(b"\n")
    try:
        client_id, fingerprint, status = head.decode().split(" ")
        return Noted(int(client_id), fingerprint, status, view)
    except ValueError:
        # Somebody else's value under our key: as good as nothing.
        return None

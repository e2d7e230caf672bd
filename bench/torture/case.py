"""A journal and a snapshot, with what the rules look up in them."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.torture.journal import ACCEPTED, UNKNOWN, Journal
from bench.torture.snapshot import Decided, Snapshot


class Violation(NamedTuple):
    """One broken promise: the rule's name, what it is about, and what was found."""

    rule: str
    subject: str
    found: str


@dataclass(slots=True)
class Body:
    """One body under one id, over all the times it was sent.

    `first` is when, in which request and at which place in it, it was sent for the first time.
    """

    id: str
    fingerprint: str
    client_id: int
    order_key: str
    sound: bool
    first: tuple[float, int, int]
    confirmed_at: float | None = None
    first_confirmed_at: float | None = None
    """When the very first request that carried it was answered with a promise, if it was."""
    again_at: float = math.inf
    """When it was sent for the second time."""
    doors: set[str] = field(default_factory=set)
    verdicts: set[str] = field(default_factory=set)

    @property
    def may_be_decided(self) -> bool:
        """Whether any answer left it possible that this body is decided."""
        return bool(self.verdicts & {ACCEPTED, UNKNOWN})


class Case:
    """What is judged. Building it reads everything once."""

    def __init__(self, journal: Journal, snapshot: Snapshot) -> None:
        self.journal = journal
        self.snapshot = snapshot
        self.bodies: dict[tuple[str, str], Body] = {}
        self.by_id: defaultdict[str, list[Body]] = defaultdict(list)
        self.rows: defaultdict[str, list[Decided]] = defaultdict(list)
        for row in snapshot.decided:
            self.rows[row.stored_id].append(row)
        self._read_journal()

    def body_of(self, row: Decided) -> Body | None:
        """The submitted body that was decided, if it was ever submitted."""
        return self.bodies.get((row.stored_id, row.stored_fingerprint))

    def _read_journal(self) -> None:
        answers = {each.attempt: each for each in self.journal.answered}
        for sent in self.journal.sent:
            answer = answers.get(sent.attempt)
            for place, item in enumerate(sent.items):
                verdict = UNKNOWN if answer is None else answer.verdicts[place]
                body = self.bodies.get((item.id, item.fingerprint))
                first = (sent.at, sent.attempt, place)
                if body is None:
                    body = Body(
                        item.id,
                        item.fingerprint,
                        sent.client_id,
                        item.order_key,
                        item.sound,
                        first,
                    )
                    self.bodies[item.id, item.fingerprint] = body
                    self.by_id[item.id].append(body)
                else:
                    body.again_at = min(body.again_at, max(first, body.first)[0])
                if first <= body.first:
                    body.first = first
                    promised = answer is not None and verdict == ACCEPTED
                    body.first_confirmed_at = answer.at if answer and promised else None
                body.sound = body.sound and item.sound
                body.doors.add(sent.door)
                body.verdicts.add(verdict)
                if (
                    answer is not None
                    and verdict == ACCEPTED
                    and (body.confirmed_at is None or answer.at < body.confirmed_at)
                ):
                    body.confirmed_at = answer.at

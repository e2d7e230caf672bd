"""Take instructions in: note them, publish those that are not decided, and say where they stand."""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from api.answers import to_json
from api.finding import Finding
from api.problems import Problem
from domain.instructions import Instruction
from domain.views import queued_view
from storage.outcomes import FINAL, Noted, Outcomes, as_first_said

Publish = Callable[[Sequence[Instruction]], Sequence[object | None]]
"""Publishes in order; answers None for each that the broker has promised to keep."""


_LOOKING_S: Final = 0.4
"""How long one request looks into Postgres for what it repeats: a batch repeats up to 1,000."""


class Submission(NamedTuple):
    """An instruction that was taken in, as its client sees it now."""

    instruction: Instruction
    status: str
    view: bytes
    replayed: bool

    def __repr__(self) -> str:
        """Without the view, which may tell of a person."""
        return f"Submission(id={self.instruction.id!r}, status={self.status!r})"

    @property
    def decided(self) -> bool:
        """Whether this is the outcome."""
        return self.status in FINAL


class Intake:
    """The way in over HTTP. Call it only with what is well-formed and allowed: it spends keys."""

    def __init__(self, outcomes: Outcomes, finding: Finding, publish: Publish) -> None:
        self._outcomes = outcomes
        self._finding = finding
        self._publish = publish

    def submit(self, instructions: Sequence[Instruction]) -> list[Submission | Problem]:
        """Take in instructions of one client, in order.

        A note in Redis is never an answer, since its publish may never have happened: only
        what is decided is not published again. What used its key for another body before
        is a Problem in its place, and not published.

        Raises: Problem 503 if the broker has not promised to keep all that was published,
        or if Postgres is needed and away. Any of them may have been taken in: repeat.
        """
        views = [to_json(queued_view(instruction)) for instruction in instructions]
        before = self._outcomes.note(list(zip(instructions, views, strict=True)))
        look_until = time.monotonic() + _LOOKING_S
        taken: dict[str, Submission] = {}
        answers: list[Submission | Problem] = []
        for instruction, view, noted in zip(instructions, views, before, strict=True):
            earlier = taken.get(instruction.id)
            if earlier is None:
                answer = self._judged(instruction, view, noted, look_until)
                if isinstance(answer, Submission):
                    taken[instruction.id] = answer
            elif earlier.instruction.fingerprint == instruction.fingerprint:
                answer = earlier
            else:
                answer = Problem("idempotency_key_reused")
            answers.append(answer)
        undecided = [each.instruction for each in taken.values() if not each.decided]
        if undecided and any(self._publish(undecided)):
            raise Problem("temporarily_unavailable")
        return answers

    def _judged(
        self, instruction: Instruction, view: bytes, noted: Noted | None, look_until: float
    ) -> Submission | Problem:
        if noted is None:
            return Submission(instruction, "queued", view, replayed=False)
        same_body = noted.fingerprint == instruction.fingerprint
        if same_body and noted.decided:
            return Submission(instruction, noted.status, noted.view, replayed=True)
        if not noted.decided and time.monotonic() < look_until:
            stored = self._finding.stored_for(instruction)
            if stored is not None:
                return Submission(instruction, stored.status, stored.view, replayed=True)
        if not same_body:
            return Problem("idempotency_key_reused")
        first = as_first_said(instruction, noted)
        return Submission(first, noted.status, noted.view, replayed=True)

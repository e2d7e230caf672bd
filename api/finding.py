"""Where an instruction stands, from Redis if it knows and from Postgres if not."""

from typing import NamedTuple

from api.answers import to_json
from api.reading import Reading
from domain.instructions import Instruction
from storage import reads
from storage.outcomes import FINAL, Outcomes


class Found(NamedTuple):
    """An instruction as its client sees it."""

    status: str
    view: bytes
    fingerprint: str | None = None
    """Of the body that this is about, where that is known without asking."""

    def __repr__(self) -> str:
        """Without the view, which may tell of a person."""
        return f"Found(status={self.status!r})"

    @property
    def final(self) -> bool:
        """Whether this is the outcome."""
        return self.status in FINAL

    @property
    def settled(self) -> bool:
        """Whether waiting is of no more use: decided, or parked for an operator."""
        return self.status != "queued"


class Finding:
    """Finds a client's own instructions. Those of others are not there."""

    def __init__(self, outcomes: Outcomes, reading: Reading) -> None:
        self._outcomes = outcomes
        self._reading = reading

    def find(self, client_id: int, instruction_id: str) -> Found | None:
        """The instruction as far as it is known; None if it is not.

        A note is believed only where Postgres does not know better.

        Raises: Problem 503 if only Postgres could tell, and it is away.
        """
        noted = self._outcomes.get(instruction_id)
        if noted is not None and noted.client_id != client_id:
            return None
        if noted is not None and noted.decided:
            return Found(noted.status, noted.view, noted.fingerprint)
        view = self._reading(reads.instruction, client_id, instruction_id)
        if view is not None:
            return Found(view["status"], to_json(view))
        return None if noted is None else Found(noted.status, noted.view)

    def settled(self, client_id: int, instruction_id: str) -> Found | None:
        """The instruction once waiting is of no more use, None before."""
        found = self.find(client_id, instruction_id)
        return found if found is not None and found.settled else None

    def is_of(self, found: Found, instruction: Instruction) -> bool:
        """Whether what is settled is this very body, or another under the same key.

        Raises: Problem 503 if only Postgres could tell, and it is away.
        """
        told = found.fingerprint
        if told is None:
            told = self._reading(reads.fingerprint, instruction.client_id, instruction.id)
        return told == instruction.fingerprint

    def stored_for(self, instruction: Instruction) -> Found | None:
        """What Postgres decided, if that was this very body under this key.

        Raises: Problem 503 if Postgres is away.
        """
        named = instruction.client_id, instruction.id
        if self._reading(reads.fingerprint, *named) != instruction.fingerprint:
            return None
        view = self._reading(reads.instruction, *named)
        if view is None or view["status"] not in FINAL:
            return None
        return Found(view["status"], to_json(view))

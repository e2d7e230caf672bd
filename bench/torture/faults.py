"""The table of faults: what can be broken, and how."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from bench.torture.disk import Disk
from bench.torture.journal import Journal
from bench.torture.town import Town
from ops.stack.services import Services

PATIENCE_S: Final = 5.0
BROKER_PATIENCE_S: Final = 15.0


@dataclass(slots=True)
class Scene:
    """What a fault works with."""

    town: Town
    services: Services
    journal: Journal
    chance: random.Random
    disk: Disk | None = None


class Missed(Exception):
    """A strike found nothing to break; its text says what was not there."""


Strike = Callable[[Scene], Awaitable[str]]
"""Breaks something, waits, and returns once it is back; answers what it was in particular.

Raises: Missed.
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind. Two faults of one part never happen at once.

    `patience_s` is the target for the flow to be back after the part is. `weight` says how
    often it is drawn, compared with others.
    """

    kind: str
    part: str
    strike: Strike
    patience_s: float = PATIENCE_S
    weight: int = 1


@dataclass(slots=True)
class Table:
    """Faults by kind, in the order in which they were added."""

    faults: dict[str, Fault] = field(default_factory=dict)

    def add(
        self, kind: str, part: str, *, patience_s: float = PATIENCE_S, weight: int = 1
    ) -> Callable[[Strike], Strike]:
        """Put a strike into the table."""

        def put(strike: Strike) -> Strike:
            self.faults[kind] = Fault(kind, part, strike, patience_s, weight)
            return strike

        return put

"""What a measurement gives: figures, each with its peer's, its target and its samples."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach: its ratio to the peer, or its own value."""

    of: Literal["ratio", "value"]
    sense: Literal["at least", "at most"]
    bound: float

    def met_by(self, found: float) -> bool:
        """Whether this is enough."""
        return found >= self.bound if self.sense == "at least" else found <= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `samples` are in `unit`; the peer's were taken in between."""

    name: str
    unit: str
    samples: Sequence[float]
    target: Target
    peer: str = ""
    peer_samples: Sequence[float] = field(default=())
    note: str = ""
    """How it was measured where the name does not say it, and what was smaller than usual."""

    @property
    def value(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def peer_value(self) -> float | None:
        """The median of the peer's samples."""
        return statistics.median(self.peer_samples) if self.peer_samples else None

    @property
    def ratio(self) -> float | None:
        """The figure's median over the peer's."""
        peer = self.peer_value
        return self.value / peer if peer else None

    @property
    def met(self) -> bool:
        """Whether the target was reached."""
        found = self.ratio if self.target.of == "ratio" else self.value
        return found is not None and self.target.met_by(found)

    def to_json(self) -> dict[str, Any]:
        """All of it, with what follows from it spelt out."""
        return {
            "name": self.name,
            "unit": self.unit,
            "value": self.value,
            "samples": list(self.samples),
            "peer": self.peer,
            "peer_value": self.peer_value,
            "peer_samples": list(self.peer_samples),
            "ratio": self.ratio,
            "target": {
                "of": self.target.of,
                "sense": self.target.sense,
                "bound": self.target.bound,
            },
            "met": self.met,
            "note": self.note,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            name=stored["name"],
            unit=stored["unit"],
            samples=stored["samples"],
            target=Target(**stored["target"]),
            peer=stored["peer"],
            peer_samples=stored["peer_samples"],
            note=stored["note"],
        )


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A figure that this run owes, and why there is none."""

    name: str
    reason: str


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed (nearest rank).

    Raises: ValueError if there are no values.
    """
    if not values:
        raise ValueError("no values, so no percentile of them")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]

"""The groups of figures in the order in which they are measured, and when each has to end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.bench import Bench
from bench.figures import aged, callbacks, drain, intake, memory, partners, store, whole
from bench.results import Figure
from bench.sizes import Sizes


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that are measured together.

    `measure` is told when its last round should have ended, in seconds since the start.
    """

    names: tuple[str, ...]
    measure: Callable[[Bench, float], list[Figure]]
    end_share: float
    """The part of the run's time that may be gone when this group's last round ends."""


_GROUPS: Final = (
    Group(store.NAMES, store.measure, 0.25),
    Group(drain.NAMES, drain.measure, 0.40),
    Group(memory.NAMES, memory.measure, 0.44),
    Group(intake.NAMES, intake.measure, 0.53),
    Group(whole.NAMES, whole.measure, 0.57),
    Group(callbacks.NAMES, callbacks.measure, 0.75),
    Group(partners.NAMES, partners.measure, 0.90),
)

_GROUPS_WITH_AGED: Final = (
    Group(store.NAMES, store.measure, 0.14),
    Group(drain.NAMES, drain.measure, 0.30),
    Group(memory.NAMES, memory.measure, 0.35),
    Group(intake.NAMES, intake.measure, 0.44),
    Group(whole.NAMES, whole.measure, 0.46),
    Group(callbacks.NAMES, callbacks.measure, 0.58),
    Group(partners.NAMES, partners.measure, 0.68),
    Group(aged.NAMES, aged.measure, 0.92),
)


def groups(sizes: Sizes) -> tuple[Group, ...]:
    """The groups of a run of this size."""
    return _GROUPS_WITH_AGED if sizes.aged_transfers else _GROUPS

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
    (store, 0.25, 0.19),
    (drain, 0.40, 0.30),
    (memory, 0.44, 0.33),
    (intake, 0.53, 0.41),
    (whole, 0.57, 0.47),
    (callbacks, 0.75, 0.58),
    (partners, 0.90, 0.67),
)
"""Each with its share without the old ledger, and with it."""

_AGED: Final = Group(aged.NAMES, aged.measure, 0.92)


def groups(sizes: Sizes) -> tuple[Group, ...]:
    """The groups of a run of this size."""
    if not sizes.aged_transfers:
        return tuple(Group(each.NAMES, each.measure, share) for each, share, _ in _GROUPS)
    with_aged = (Group(each.NAMES, each.measure, share) for each, _, share in _GROUPS)
    return (*with_aged, _AGED)

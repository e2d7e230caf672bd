"""Which faults, and when: drawn from a seed, every kind before any comes again too often."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from bench.torture.faults import Fault

_SIZES: Final = (1, 2, 3)
_SIZE_WEIGHTS: Final = (1, 2, 3)
_SPREAD_S: Final = 1.5


class Planned(NamedTuple):
    """One fault of a round, and how long after the round's start it strikes."""

    fault: Fault
    after_s: float


def rounds(faults: Mapping[str, Fault], seed: int) -> Iterator[Sequence[Planned]]:
    """Rounds for ever: one to three faults of different parts, close to each other.

    Kinds are drawn without putting back, each as often as its weight says, so that a long run
    has all of them many times and a short one has most of them.
    """
    chance = random.Random(f"schedule {seed}")
    first = True
    drawn: list[Fault] = []
    while True:
        size = chance.choices(_SIZES, _SIZE_WEIGHTS)[0]
        chosen: list[Fault] = []
        while len(chosen) < size:
            if not drawn:
                drawn = _bag(faults, chance, once=first)
                first = False
            taken = {each.part for each in chosen}
            place = next((n for n, each in enumerate(drawn) if each.part not in taken), None)
            if place is None:
                break
            chosen.append(drawn.pop(place))
        yield [Planned(each, chance.uniform(0, _SPREAD_S)) for each in chosen]


def _bag(faults: Mapping[str, Fault], chance: random.Random, *, once: bool) -> list[Fault]:
    """All kinds in a random order; the first time each once, so that none is missed."""
    bag = [each for each in faults.values() for _ in range(1 if once else each.weight)]
    chance.shuffle(bag)
    return bag

"""One run of the bench: what the figures work with."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.clock import Clock
from bench.ground import Ground
from bench.progress import Steps
from bench.results import Figure
from bench.sizes import Sizes
from bench.transfers import Transfers

SEED: Final = 20_261_123
"""Every run draws the same wallets in the same order."""

Sample = Callable[[], float]


@dataclass(slots=True)
class Bench:
    """Ground to measure on, how much to measure, the time left, and what is known so far."""

    ground: Ground
    sizes: Sizes
    clock: Clock
    steps: Steps
    figures: list[Figure] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))

    def transfers(self) -> Transfers:
        """A new source of transfers, whose keys nobody has used."""
        from bench.ground import PARTITIONS

        return Transfers(self.ground.client_id, PARTITIONS, self.chance)

    def interleaved(
        self, samples: Mapping[str, Sample], *, end_s: float, rounds: int | None = None
    ) -> dict[str, list[float]]:
        """Sample A B C A B C …, so that whatever happens to the machine happens to all.

        There are `rounds` (by default those of the sizes), and fewer if the next one would
        end more than `end_s` after the start of the run; one there is always.
        """
        found: dict[str, list[float]] = {name: [] for name in samples}
        wanted = self.sizes.rounds if rounds is None else rounds
        longest_s = 0.0
        for number in range(wanted):
            if number and self.clock.passed_s + longest_s > end_s:
                self.steps.say(f"Time runs short: {number} rounds instead of {wanted}.")
                break
            begun_s = self.clock.passed_s
            for name, sample in samples.items():
                with self.steps.step(f"{name}, {number + 1} of {wanted}"):
                    found[name].append(sample())
            longest_s = max(longest_s, self.clock.passed_s - begun_s)
        return found

    def known(self, name: str) -> Figure | None:
        """A figure that this run has measured already."""
        return next((figure for figure in self.figures if figure.name == name), None)

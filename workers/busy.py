"""How busy a worker has been lately, and how long its batches therefore wait for company."""

import math
from typing import Final

_MEMORY_S: Final = 0.25
"""What is longer ago than a few of these counts for nothing."""

_FROM: Final = 0.3
"""A worker that is busy for less of its time serves a lone transfer at once."""

_FULLY: Final = 0.55

_LONGER: Final = 10
"""How many times longer, added to once, a batch waits in a worker that is fully busy."""


class Busy:
    """The share of its time that a worker spends settling, the last quarter of a second above all.

    At a trickle each instruction has a transaction of its own, and those are what keeps the
    worker busy: a batch that waits a little then makes all the others wait less.
    Times are in seconds of a clock that never goes back.
    """

    def __init__(self) -> None:
        self.share = 0.0
        self._known_until_s = 0.0

    def spent(self, began_s: float, ended_s: float) -> None:
        """It settled from then to then, and did not since it was told of last."""
        passed_s = ended_s - self._known_until_s
        if passed_s <= 0:
            return
        remembered = math.exp(-passed_s / _MEMORY_S)
        self.share = self.share * remembered + (1 - remembered) * (ended_s - began_s) / passed_s
        self._known_until_s = ended_s

    def stretched(self, linger_s: float) -> float:
        """How long a batch waits that would wait for `linger_s` in a worker that is idle."""
        busy = (self.share - _FROM) / (_FULLY - _FROM)
        return linger_s * (1 + _LONGER * min(1.0, max(0.0, busy)))

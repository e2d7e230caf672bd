"""How much is sent: a steady rate on the average, and more for a while after an outage."""

import time

_OWED_MOST_S = 6.0
"""Seconds of traffic that are made up for after an outage; what is owed beyond is dropped."""


class Pace:
    """Tells lanes how many instructions are due. Shared by all of them."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._owed = 0.0
        self._at = time.monotonic()

    def take(self, most: int) -> int:
        """So many are to be sent now; they count as sent."""
        now = time.monotonic()
        self._owed = min(self._owed + (now - self._at) * self._per_s, self._per_s * _OWED_MOST_S)
        self._at = now
        taken = min(most, int(self._owed))
        self._owed -= taken
        return taken

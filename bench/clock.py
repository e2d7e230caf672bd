"""The time that a run may take, and what it has taken."""

import time


class Clock:
    """Counts down from a limit in seconds, from the moment it is made."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._begun = time.monotonic()

    @property
    def passed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begun

    @property
    def left_s(self) -> float:
        """Seconds until the limit; negative beyond it."""
        return self.limit_s - self.passed_s

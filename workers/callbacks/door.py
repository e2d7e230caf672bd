"""One endpoint as its letters come to it: so many at once, and no more once it has enough."""

import asyncio
import threading
import time
from typing import Final

from workers.callbacks.letters import Attempt

IN_FLIGHT: Final = 8
"""Requests at once to one endpoint."""


class Door:
    """What the batches on their way to one endpoint share: its lanes, and when it has enough."""

    def __init__(self, stopping: threading.Event) -> None:
        self.lanes = asyncio.Semaphore(IN_FLIGHT)
        self.batches = 0
        """How many have not ended: with the last one the door is forgotten."""
        self._stopping = stopping
        self._failed_in_a_row = 0
        self._told_to_stop = False

    def goes_on(self, until_s: float) -> bool:
        """Whether one more letter may be sent, of a batch that has until then."""
        return not (
            self._told_to_stop
            or self._failed_in_a_row >= IN_FLIGHT
            or self._stopping.is_set()
            or time.monotonic() >= until_s
        )

    def note(self, attempt: Attempt) -> None:
        """What came of one."""
        self._failed_in_a_row = 0 if attempt.accepted else self._failed_in_a_row + 1
        self._told_to_stop |= attempt.enough

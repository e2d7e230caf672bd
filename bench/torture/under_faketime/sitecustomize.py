"""Loaded by processes whose clock libfaketime moves: a sleep that survives it.

Python sleeps until a moment of the monotonic clock. libfaketime 0.9.10 takes that moment for
one of the clock that it moves, and the system answers EINVAL. A wait of select is relative.
"""

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex, /) -> None:
    wanted_s = float(seconds)
    if wanted_s < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], wanted_s)


time.sleep = _sleep

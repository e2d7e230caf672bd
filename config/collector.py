"""Python's garbage collector, told what kind of process it is in."""

import gc
from typing import Final

YOUNG_MOST: Final = 50_000
"""New objects before it looks at them. A batch of 500 makes about ten thousand, and nearly all
are freed by their counts; by default each batch would be walked through a dozen times."""


def settle_collector() -> None:
    """Spare it what lives as long as the process, and have it look seldom at the rest.

    Call it once everything has been loaded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MOST)

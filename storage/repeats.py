"""Whether a batch is searched for instructions that have an outcome already.

To look costs one descent of an index for each instruction, and nearly always finds nothing. Not
to look costs the whole batch if there is one: the primary key stops it, and it is run once more.
"""

from typing import Final

_BATCHES: Final = 40
"""Repeats come in crowds: for so many batches after one they are looked for.

To look takes a twentieth of a batch, so even repeats that come just too seldom for this cost a
few hundredths.
"""


class Repeats:
    """Expected, once one has come, until none has for a while. For one worker."""

    def __init__(self) -> None:
        self._batches_left = 0

    @property
    def expected(self) -> bool:
        """Whether to look for them in the next batch."""
        return self._batches_left > 0

    def noted(self, *, some: bool) -> None:
        """A batch was stored, and held some or none."""
        self._batches_left = _BATCHES if some else max(0, self._batches_left - 1)

"""Watching outcomes come, in Redis, where those who wait for them look."""

import time
from typing import Final

import redis

from ops.errors import OperatorError

_POLL_S: Final = 0.005
_PATIENCE_S: Final = 60.0
"""Without a single further outcome for so long, something is broken."""


class Watched:
    """One of Redis's databases, which nobody else writes to."""

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(redis_url)

    def clear(self) -> None:
        """Forget everything."""
        self._client.flushdb()

    def count(self) -> int:
        """How many there are."""
        return int(self._client.dbsize())

    def per_s(self, expected: int) -> float:
        """How many a second come, from the first that is seen to the last of those expected.

        Whatever was there at the first look counts for nothing: the clock starts with it.

        Raises: OperatorError if they stop coming, or all had come by the first look.
        """
        count = first = self._next(0)
        if first >= expected:
            raise OperatorError(f"All {first} outcomes had come by the first look.")
        begun = seen_at = time.perf_counter()
        while count < expected:
            count = self._next(count)
            seen_at = time.perf_counter()
        return (count - first) / (seen_at - begun)

    def wait(self, expected: int) -> None:
        """Return once so many came. Raises: OperatorError if they stop coming."""
        count = 0
        while count < expected:
            count = self._next(count)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def _next(self, known: int) -> int:
        """The count once it has grown beyond what is known."""
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            count = self.count()
            if count > known:
                return count
            # A count of Redis, of which nobody tells; looking more often would slow what it counts.
            time.sleep(_POLL_S)
        raise OperatorError(f"After {known} outcomes none came for {_PATIENCE_S:.0f} s.")

"""`Prefer: wait`: hold a request until its outcome is there, for some requests at a time."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from api.problems import Problem
from storage.waiting import Waiter, Waiting

_T = TypeVar("_T")

_LISTENING_S: Final = 2.0
"""How often to look even though Redis is heard: a worker can die before it tells."""

_DEAF_S: Final = 0.25
"""How often to look while Redis is not heard."""


class Wait:
    """One request's place among those that wait."""

    def __init__(self, waiter: Waiter, until: float) -> None:
        self._waiter = waiter
        self._until = until

    @property
    def certain(self) -> bool:
        """Whether an outcome from now on would be heard at once."""
        return self._waiter.listening

    def until(self, look: Callable[[], _T | None]) -> _T | None:
        """What `look` finds once it finds something; None when the time is over.

        `look` may fail for want of Postgres: then it is asked again later.
        """
        while (left_s := self._until - time.monotonic()) > 0:
            self._waiter.wait(min(left_s, _LISTENING_S if self._waiter.listening else _DEAF_S))
            self._waiter.forget()
            with contextlib.suppress(Problem):
                if (found := look()) is not None:
                    return found
        return None


class Waits:
    """The places of one process. Waiters take threads, and the rest is for everybody else."""

    def __init__(self, waiting: Waiting, places: int) -> None:
        self._waiting = waiting
        self._places = threading.BoundedSemaphore(places) if places else None

    @contextlib.contextmanager
    def on(self, instruction_id: str, wait_s: int) -> Iterator[Wait | None]:
        """Subscribe to an outcome for up to `wait_s`; None if that is 0 or no place is free.

        Whatever is decided within the block is heard, so publish or read inside it.
        """
        if not wait_s or self._places is None or not self._places.acquire(blocking=False):
            yield None
            return
        try:
            until = time.monotonic() + wait_s
            with self._waiting.on(instruction_id) as waiter:
                yield Wait(waiter, until)
        finally:
            self._places.release()

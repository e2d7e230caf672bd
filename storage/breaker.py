"""Leave a service alone for a moment after it failed."""

import threading
import time


class Breaker:
    """Lets calls through until one fails, and then one call in each pause.

    A service that is away costs each caller its timeout. With a breaker it costs one
    caller in a pause, and the others nothing. Safe to share between threads.
    """

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._closed_until: float | None = None

    def admits(self) -> bool:
        """Whether to try now. After a failure, the one who is told yes tries for all."""
        if self._closed_until is None:
            return True
        with self._lock:
            now = time.monotonic()
            if self._closed_until is not None and now < self._closed_until:
                return False
            self._closed_until = now + self._pause_s
            return True

    def succeeded(self) -> None:
        """The service answered: everybody may try again."""
        self._closed_until = None

    def failed(self) -> None:
        """The service did not answer: leave it alone for a pause."""
        self._closed_until = time.monotonic() + self._pause_s

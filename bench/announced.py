"""When outcomes were announced: heard on the channel on which workers tell of them."""

import threading
import time
from types import TracebackType
from typing import Any, Final, Self

import redis

from storage.outcomes import DECIDED_CHANNEL

_LISTEN_S: Final = 0.2


class Announced:
    """Notes the time at which each instruction's outcome was told, in a thread of its own.

    The outcome is in Redis before it is told: whoever asks then is answered.
    """

    def __init__(self, redis_url: str) -> None:
        self.at: dict[str, float] = {}
        """Times of `time.perf_counter` by instruction id."""
        self._client = redis.Redis.from_url(redis_url)
        self._subscription: Any = self._client.pubsub()  # type: ignore[no-untyped-call]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="announced", daemon=True)

    def __enter__(self) -> Self:
        self._subscription.subscribe(DECIDED_CHANNEL)
        self._subscription.get_message(timeout=5.0)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._subscription.close()
        self._client.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            message = self._subscription.get_message(timeout=_LISTEN_S)
            if message is not None and message["type"] == "message":
                at = time.perf_counter()
                for instruction_id in message["data"].decode().split(" "):
                    self.at.setdefault(instruction_id, at)

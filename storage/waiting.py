"""Waiting for outcomes: one subscription per process, shared by all who wait in it."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Final

import redis
from redis.client import PubSub
from redis.exceptions import RedisError

from storage.outcomes import DECIDED_CHANNEL
from storage.redis_link import PAUSE_S, TIMEOUT_S, connections

_LISTEN_S: Final = 1.0
"""How long the thread listens before it looks whether it should end."""

_LOG: Final = logging.getLogger(__name__)


class Waiter:
    """One who waits for one instruction."""

    def __init__(self, waiting: "Waiting") -> None:
        self._waiting = waiting
        self._told = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the instruction is told of; False after `timeout_s` without.

        False proves nothing, since Redis may have been away: read, and wait again.
        """
        return self._told.wait(timeout_s)

    @property
    def listening(self) -> bool:
        """Whether Redis is being heard now. If not, only reading tells."""
        return self._waiting.listening

    def tell(self) -> None:
        """There is something to read."""
        self._told.set()

    def forget(self) -> None:
        """Wait to be told once more. Call it before reading, so that nothing is missed."""
        self._told.clear()


class Waiting:
    """Hears from Redis which instructions were decided, and tells who waits for them.

    The thread starts with the first who waits, so that a process may fork before.
    """

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._lock = threading.Lock()
        self._waiters: dict[str, set[Waiter]] = {}
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._subscribed = threading.Event()
        self._closing = threading.Event()

    @property
    def listening(self) -> bool:
        """Whether the subscription stands."""
        return self._subscribed.is_set()

    @contextlib.contextmanager
    def on(self, instruction_id: str) -> Iterator[Waiter]:
        """Wait for one instruction within the block.

        Once inside, everything told from then on is heard, unless Redis is away
        (`Waiter.listening`). So subscribe, then read, then wait.
        """
        waiter = Waiter(self)
        with self._lock:
            self._start()
            self._waiters.setdefault(instruction_id, set()).add(waiter)
        # Two timeouts bound a first connection; a standing subscription is not waited for.
        self._subscribed.wait(2 * TIMEOUT_S)
        try:
            yield waiter
        finally:
            with self._lock:
                others = self._waiters[instruction_id]
                others.discard(waiter)
                if not others:
                    del self._waiters[instruction_id]

    def close(self) -> None:
        """End the thread. Nobody may wait any more."""
        self._closing.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join()

    def _start(self) -> None:
        if self._thread is not None and self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._subscribed.clear()
        self._waiters = {}
        self._thread = threading.Thread(target=self._listen, name="outcomes", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                self._listen_once()
            except (RedisError, OSError) as error:
                _LOG.warning("not hearing of outcomes: %s", type(error).__name__)
            finally:
                self._subscribed.clear()
            self._closing.wait(PAUSE_S)

    def _listen_once(self) -> None:
        client = redis.Redis(connection_pool=connections(self._redis_url))
        with contextlib.closing(client), _subscription(client) as subscription:
            subscription.subscribe(DECIDED_CHANNEL)
            confirmed_by = time.monotonic() + TIMEOUT_S
            while not self._closing.is_set():
                message = subscription.get_message(
                    timeout=_LISTEN_S if self.listening else TIMEOUT_S
                )
                match message:
                    case {"type": "subscribe"}:
                        self._subscribed.set()
                    case {"type": "message", "data": bytes(ids)}:
                        self._tell(ids.decode().split(" "))
                    case None if not self.listening and time.monotonic() > confirmed_by:
                        raise RedisError

    def _tell(self, ids: list[str]) -> None:
        with self._lock:
            for instruction_id in self._waiters.keys() & ids:
                for waiter in self._waiters[instruction_id]:
                    waiter.tell()


def _subscription(client: redis.Redis) -> PubSub:
    return client.pubsub()  # type: ignore[no-any-return, no-untyped-call]  # redis-py leaves it untyped.

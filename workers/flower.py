"""What Flower shows of the partitions: an instruction as a task, at a bounded cost.

Every instruction is shown up to a rate, above it a sample of that size. Nothing is shown
before it is committed, no data ever, and nothing at all while the broker blocks whoever
publishes: events are a courtesy, instructions are not.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from celery.worker import state

from domain.books import Decision

log = logging.getLogger(__name__)

PARKED_PER_S: Final = 10
"""Parked messages have a bucket of their own: a flood of transfers must not hide them."""

EVENTS_PER_MESSAGE: Final = 300
"""Events that Celery's dispatcher collects before it publishes them as one message."""


class TokenBucket:
    """Allows so many a second, and those of `holds_s` seconds at once. A rate of 0 allows none."""

    def __init__(
        self, per_s: float, clock: Callable[[], float] = time.monotonic, holds_s: float = 1.0
    ) -> None:
        self._per_s = per_s
        self._clock = clock
        self._most = max(min(per_s, 1.0), per_s * holds_s)
        self._left = self._most
        self._at = clock()

    def take(self, wanted: int) -> int:
        """How many of those wanted are allowed now; they are spent."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        allowed = min(wanted, int(self._left))
        self._left -= allowed
        return allowed


class FlowerEvents:
    """Sends events of settled instructions through a Celery worker's own dispatcher."""

    def __init__(self, per_s: int) -> None:
        self._decided = TokenBucket(per_s)
        self._parked = TokenBucket(PARKED_PER_S if per_s else 0)
        self._dispatcher: Any = None
        self.blocked = False

    def connect(self, dispatcher: Any) -> None:
        """Use this dispatcher from now on: Celery makes one for each connection."""
        dispatcher.buffer_limit = EVENTS_PER_MESSAGE
        self._dispatcher = dispatcher
        self.blocked = False
        connection = dispatcher.connection.connection
        connection.on_blocked = self._on_blocked
        connection.on_unblocked = self._on_unblocked

    def decided(self, decisions: Sequence[Decision], came_at: float, began_at: float) -> None:
        """Show decided instructions: came and began in seconds since the epoch, ended now."""
        for decision in decisions:
            state.total_count[decision.instruction.type] += 1
        state.all_total_count[0] += len(decisions)
        for decision in decisions[: self._allowed(self._decided, len(decisions))]:
            instruction, outcome, _ = decision
            result = outcome.status
            if outcome.rejection is not None:
                result = f"{result} {outcome.rejection.code}"
            self._begin(instruction.id, instruction.type, came_at, began_at)
            self._send(
                "task-succeeded",
                uuid=instruction.id,
                result=result,
                runtime=time.time() - began_at,
            )

    def parked(self, name: str, uuid: str | None, body: bytes, reason: str) -> None:
        """Show a message that was parked; one without an id goes by a digest of its body."""
        if self._allowed(self._parked, 1):
            uuid = uuid or hashlib.sha256(body).hexdigest()[:32]
            now = time.time()
            self._begin(uuid, name, now, now)
            self._send("task-failed", uuid=uuid, exception=reason, traceback="")

    def _allowed(self, bucket: TokenBucket, wanted: int) -> int:
        if self.blocked or self._dispatcher is None or not self._dispatcher.enabled:
            return 0
        return bucket.take(wanted)

    def _begin(self, uuid: str, name: str, came_at: float, began_at: float) -> None:
        self._send(
            "task-received",
            uuid=uuid,
            name=name,
            args="",
            kwargs="",
            root_id=uuid,
            parent_id=None,
            retries=0,
            eta=None,
            expires=None,
            timestamp=came_at,
        )
        self._send("task-started", uuid=uuid, timestamp=began_at)

    def _send(self, kind: str, **fields: Any) -> None:
        """Buffered by the dispatcher, which sends what it has once the event loop is idle."""
        self._dispatcher.send(kind, **fields)

    def _on_blocked(self, _reason: str) -> None:
        self.blocked = True
        log.warning("the broker blocks publishers; Flower is shown nothing")

    def _on_unblocked(self) -> None:
        self.blocked = False
        log.info("the broker takes events again")

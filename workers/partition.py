"""One partition: deliveries are held in the order they came until each of them is settled.

Settled means decided and committed, or parked and committed; only then acknowledged. This
knows nothing of Celery or of channels: whoever owns it passes deliveries in, calls
`settle`, and is told when to call again.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine

from config.logs import described
from domain.instructions import Instruction
from storage import parked
from storage.faults import Fault, classify
from storage.ledger import Decided, Ledger, Paused
from workers.announce import Announcer
from workers.delivery import Delivery, Misfit, read, storable_headers
from workers.flower import FlowerEvents
from workers.handover import Handover
from workers.inflow import properties

log = logging.getLogger(__name__)

RELOADS_AT_ONCE: Final = 3
"""How often a batch that met another one is run again without waiting."""

RELOADS_MOST: Final = 20
"""A conflict that outlives so many runs is in the message, not in its neighbours."""

BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MOST_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Office:
    """What the partitions of one worker have in common."""

    ledger: Ledger
    engine: Engine
    announcer: Announcer
    events: FlowerEvents
    handover: Handover
    partitions: int
    batch_size: int


class Unparkable(Exception):
    """A message could not be decided, and not be put aside either."""


class Partition:
    """The deliveries of one partition on one channel; a new channel takes a new one.

    `ack` acknowledges a delivery tag and all before it.
    """

    def __init__(self, number: int, office: Office, ack: Callable[[int], None]) -> None:
        self.number = number
        self.paused = False
        self._office = office
        self._ack = ack
        self._held: list[Delivery] = []
        self._careful = 0
        """How many deliveries, from the first, are settled one by one: a batch failed."""
        self._most = office.batch_size
        """The most that the next batch takes: halved by trouble, doubled by success."""
        self._attempts = 0
        self._reloads = 0
        self._trouble_since: float | None = None

    def take(self, delivery: Delivery) -> None:
        """Hold one more delivery."""
        self._held.append(delivery)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def full(self) -> bool:
        """Whether a whole batch waits."""
        return len(self._held) >= self._most

    @property
    def in_trouble(self) -> bool:
        """Whether the next batch has failed before: it is not run before it is due."""
        return self._trouble_since is not None

    def settle(self) -> float | None:
        """Settle the next batch, or find out why it has to wait.

        Returns the seconds after which to call again, or None when it may wait for company.
        If an operator has paused the partition, `paused` is set: drop this and its channel.

        Raises: what `ack` raises; then drop this too, and the broker delivers again.
        """
        batch = self._held[: 1 if self._careful else self._most]
        if not batch:
            return None
        began_at = time.time()
        decided = None
        try:
            decided = self._decide(batch)
        except Paused:
            self.paused = True
            return None
        except Exception as error:  # noqa: BLE001  Each fault is classed, logged and acted on.
            wait_s = self._after_fault(error, batch)
            if wait_s is not None:
                return wait_s
        self._finish(batch)
        if decided is not None:
            self._office.announcer.announce(decided)
            if decided.pending is not None:
                self._office.handover.hand_on(decided.pending)
            self._office.events.decided(decided.posting.decisions, batch[0].came_at, began_at)
        return 0.0 if self._careful or self.full else None

    def _decide(self, batch: list[Delivery]) -> Decided | None:
        """Commit all of a batch; what does not belong here is parked first."""
        instructions: list[Instruction] = []
        for delivery in batch:
            found = read(delivery.body, self.number, self._office.partitions)
            if isinstance(found, Misfit):
                self._park(delivery, found)
            else:
                instructions.append(found)
        if not instructions:
            return None
        return self._office.ledger.decide(self.number, instructions, _now)

    def _finish(self, batch: list[Delivery]) -> None:
        """All of the batch is committed: forget it and acknowledge it."""
        del self._held[: len(batch)]
        self._careful = max(0, self._careful - len(batch))
        self._most = min(self._office.batch_size, self._most * 2)
        self._attempts = self._reloads = 0
        if self._trouble_since is not None:
            waited_s = round(time.monotonic() - self._trouble_since, 3)
            log.info("goes on", extra={"partition": self.number, "waited_s": waited_s})
            self._trouble_since = None
        self._ack(batch[-1].tag)

    def _after_fault(self, error: Exception, batch: list[Delivery]) -> float | None:
        """Seconds to wait before the batch is run again, or None if it has been parked."""
        fault = Fault.TRANSIENT if isinstance(error, Unparkable) else classify(error)
        if fault is Fault.RELOAD:
            self._reloads += 1
            if self._reloads <= RELOADS_AT_ONCE:
                return 0.0
            fault = Fault.TRANSIENT if self._reloads <= RELOADS_MOST else Fault.DETERMINISTIC
        if fault is Fault.TRANSIENT:
            return self._hold(error)
        if len(batch) > 1:
            log.warning(
                "batch failed; going on one by one",
                extra={
                    "partition": self.number,
                    "instructions": len(batch),
                    "fault": described(error),
                },
            )
            self._careful, self._reloads = len(batch), 0
            return 0.0
        try:
            self._park(batch[0], self._undecided(batch[0], error))
        except Unparkable as unparkable:
            return self._hold(unparkable)
        return None

    def _hold(self, error: Exception) -> float:
        """Keep everything in its place and back off; logged once per outage."""
        if self._trouble_since is None:
            self._trouble_since = time.monotonic()
            log.warning(
                "held in place",
                extra={"partition": self.number, "fault": described(error.__cause__ or error)},
            )
        # A batch that timed out must not time out for ever: smaller ones get through.
        self._most = max(1, self._most // 2)
        wait_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** min(self._attempts, 10))
        self._attempts += 1
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311  Jitter is no secret.

    def _undecided(self, delivery: Delivery, error: Exception) -> Misfit:
        found = read(delivery.body, self.number, self._office.partitions)
        reason = f"undecided: {described(error)}"
        if isinstance(found, Misfit):
            return found
        return Misfit(reason, found.id, found.type)

    def _park(self, delivery: Delivery, misfit: Misfit) -> None:
        """Put a message aside for an operator; committed on return, and once however often.

        Raises: Unparkable, whatever the fault: what is not put aside must not be lost.
        """
        try:
            new = parked.park(
                self._office.engine,
                self.number,
                delivery.body,
                storable_headers(properties(delivery.header)),
                misfit.reason,
                misfit.instruction_id,
                _now(),
            )
        except Exception as error:
            raise Unparkable(misfit.reason) from error
        if new:
            log.error(
                "parked",
                extra={
                    "partition": self.number,
                    "instruction_id": misfit.instruction_id,
                    "reason": misfit.reason,
                },
            )
            self._office.events.parked(
                misfit.type, misfit.instruction_id, delivery.body, misfit.reason
            )


def _now() -> datetime:
    return datetime.now(UTC)

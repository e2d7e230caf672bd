"""The step of a Celery worker that consumes partitions: wires channels, time and partitions."""

import logging
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

from config.broker import partition_queue
from config.logs import described
from storage.partitions import is_paused
from workers.busy import Busy
from workers.channels import ChannelStep, Lane
from workers.delivery import Delivery
from workers.partition import Office, Partition

log = logging.getLogger(__name__)

PAUSE_POLL_S: Final = 1.0


class PartitionLane(Lane):
    """A partition with its channel. Without a partition it is paused."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.partition: Partition | None = None
        self.unanswered = False
        """Whether Postgres did not say how long a pause lasts: told once."""


class LedgerStep(ChannelStep):
    """Consumes the partitions of one worker. A subclass made by `ledger_step` says whose."""

    office: Office
    numbers: list[int]
    linger_s: float
    ready_file: Path | None

    def _begin(self) -> None:
        self.office.events.connect(self._consumer.event_dispatcher)
        self.office.handover.open()
        self._busy = Busy()
        self._lanes = [PartitionLane(number) for number in self.numbers]
        for lane in self._lanes:
            self._open(lane)
        if self.ready_file is not None:
            self.ready_file.touch()
        log.info("consuming", extra={"partitions": self.numbers})

    def stop(self, consumer: Any) -> None:
        """Let go of everything undecided: the broker has it still, in order."""
        for lane in self._lanes:
            lane.partition = None
        super().stop(consumer)

    shutdown = stop

    def _open(self, lane: PartitionLane) -> None:
        """Consume a partition from its first undecided message on."""
        lane.channel = channel = self._new_channel(
            2 * self.office.batch_size, partial(self._take, lane)
        )
        lane.partition = Partition(
            lane.number, self.office, partial(channel.basic_ack, multiple=True)
        )
        channel.basic_consume(partition_queue(lane.number).name, on_cancel=self._on_cancel)
        self._drain_soon()

    def _take(self, lane: PartitionLane, tag: int, body: bytes, header: bytes) -> None:
        partition = lane.partition
        if partition is None:
            return
        partition.take(Delivery(tag, body, header, time.time()))
        if lane.due_at is None:
            self._appoint(lane, self._busy.stretched(self.linger_s))
        if partition.full and not partition.in_trouble:
            self._settle_next(lane)

    def _on_cancel(self, _tag: str) -> None:
        """The broker took a queue from us. An exception here might be swallowed by Celery."""
        self._cancelled = True
        self._drain_soon()

    def _settle(self, lane: PartitionLane) -> None:
        lane.due_at = None
        partition = lane.partition
        if partition is None:
            self._resume_if_allowed(lane)
            return
        began_s = time.monotonic()
        again_s = partition.settle()
        self._busy.spent(began_s, time.monotonic())
        if partition.paused:
            self._pause(lane)
        elif again_s is not None:
            self._appoint(lane, again_s)
        elif len(partition):
            self._appoint(lane, self._busy.stretched(self.linger_s))

    def _pause(self, lane: PartitionLane) -> None:
        """Give the messages back, in order, and ask once a second whether to go on."""
        log.warning("paused by an operator", extra={"partition": lane.number})
        lane.partition = None
        channel, lane.channel = lane.channel, None
        self._inflow.close(channel)
        self._drain_soon()
        self._appoint(lane, PAUSE_POLL_S)

    def _resume_if_allowed(self, lane: PartitionLane) -> None:
        try:
            paused = is_paused(self.office.engine, lane.number)
        except Exception as error:  # noqa: BLE001  Not knowing is a reason to wait.
            paused = True
            if not lane.unanswered:
                lane.unanswered = True
                log.warning(
                    "paused, and Postgres does not say for how long",
                    extra={"partition": lane.number, "fault": described(error)},
                )
        if paused:
            self._appoint(lane, PAUSE_POLL_S)
            return
        log.info("resumed by an operator", extra={"partition": lane.number})
        lane.unanswered = False
        self._open(lane)


def ledger_step(
    office: Office, numbers: list[int], linger_s: float, ready_file: Path | None
) -> type[LedgerStep]:
    """A step for `app.steps["consumer"]` that consumes these partitions."""
    attributes = {
        "office": office,
        "numbers": numbers,
        "linger_s": linger_s,
        "ready_file": ready_file,
    }
    return type("LedgerPartitions", (LedgerStep,), attributes)

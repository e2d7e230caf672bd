"""The step of a Celery worker that consumes partitions: wires channels, timers and partitions.

Each partition has a channel of its own, because acknowledging "this and all before" is per
channel. Messages are taken as py-amqp delivers them: no kombu, no Celery protocol, no
decoding before our own. A channel is closed and never cancelled: a cancelled consumer may
still hold messages while the standby starts on later ones.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from amqp.exceptions import RecoverableConnectionError
from amqp.transport import TCPTransport
from celery import bootsteps

from config.broker import partition_queue
from config.logs import described
from storage.partitions import is_paused
from workers.delivery import Delivery
from workers.partition import Office, Partition

log = logging.getLogger(__name__)

EXIT_SOFTWARE: Final = 70
"""sysexits.h: the supervisor starts the worker again, from a state that is known."""

PAUSE_POLL_S: Final = 1.0

READ_AHEAD_BYTES: Final = 16384
"""More would be copied around once for each part of each message."""


class Lane:
    """A partition with its channel and its next appointment, for as long as a connection lasts."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.channel: Any = None
        self.partition: Partition | None = None
        self.timer: Any = None
        self.unanswered = False
        """Whether Postgres did not say how long a pause lasts: told once."""

    def cancel_timer(self) -> None:
        """Forget the appointment."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class LedgerStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Consumes the partitions of one worker; Celery starts it anew with every connection.

    A subclass made by `ledger_step` says whose.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)
    office: Office
    numbers: list[int]
    linger_s: float
    ready_file: Path | None

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        self._lanes: list[Lane] = []
        self._connection: Any = None
        self._full: list[Lane] = []

    def start(self, consumer: Any) -> None:
        """Open every partition's channel. Called again after each reconnection."""
        self.office.events.connect(consumer.event_dispatcher)
        self._connection = consumer.connection.connection
        self._lanes = [Lane(number) for number in self.numbers]
        for lane in self._lanes:
            self._open(lane)
        # Celery's own reader takes one message a turn of the event loop, and a turn costs
        # more than a message.
        consumer.hub.add_reader(self._connection.sock, self._drain, self._connection)
        if self.ready_file is not None:
            self.ready_file.touch()
        log.info("consuming", extra={"partitions": self.numbers})

    def stop(self, consumer: Any) -> None:
        """Let go of everything undecided: the broker has it still, in order."""
        lanes, self._lanes, self._connection = self._lanes, [], None
        for lane in lanes:
            lane.cancel_timer()
            lane.partition = None
        for lane in lanes:
            if lane.channel is not None:
                with suppress(*consumer.connection_errors, *consumer.channel_errors):
                    lane.channel.close()

    shutdown = stop

    def _open(self, lane: Lane) -> None:
        """Consume a partition from its first undecided message on."""
        channel = self._consumer.connection.channel()
        # py-amqp would turn a body to text by an encoding that the message names.
        channel.auto_decode = False
        channel.basic_qos(0, 2 * self.office.batch_size, False)
        lane.channel = channel
        lane.partition = Partition(
            lane.number, self.office, partial(channel.basic_ack, multiple=True)
        )
        channel.basic_consume(partition_queue(lane.number).name, callback=partial(self._take, lane))
        self._drain_soon()

    def _take(self, lane: Lane, message: Any) -> None:
        partition = lane.partition
        if partition is None:
            return
        # py-amqp gives a message without a body the empty text instead of no bytes.
        body = message.body if isinstance(message.body, bytes) else bytes(message.body or b"")
        partition.take(Delivery(message.delivery_tag, body, message.properties, time.time()))
        if lane.timer is None:
            self._appoint(lane, self.linger_s)
        if partition.full and not partition.in_trouble:
            self._full.append(lane)

    def _drain(self, connection: Any) -> None:
        """Read what has arrived, until a partition has a whole batch; then settle it at once."""
        if connection is not self._connection:
            return
        self._full.clear()
        try:
            with _reading_ahead(connection.transport):
                while not self._full:
                    connection.drain_events(timeout=0)
        except TimeoutError:
            return
        self._drain_soon()
        for lane in self._full:
            self._guarded(self._settle, lane)

    def _drain_soon(self) -> None:
        """Read again without being told: what lies in a buffer of ours or of TLS wakes nobody."""
        self._consumer.hub.call_soon(self._drain, self._connection)

    def _appoint(self, lane: Lane, after_s: float) -> None:
        lane.timer = self._consumer.timer.call_after(after_s, self._guarded, (self._settle, lane))

    def _guarded(self, action: Callable[[Lane], None], lane: Lane) -> None:
        """Run something of ours inside Celery's event loop, whose timers swallow exceptions.

        A lost connection or a closed channel is passed on as one that makes Celery connect
        anew. Everything else is a defect of this worker, never of a message: it ends the
        process, which holds nothing that the broker and Postgres do not have.
        """
        try:
            action(lane)
        except (*self._consumer.connection_errors, *self._consumer.channel_errors) as error:
            raise RecoverableConnectionError(described(error)) from error
        except Exception:
            log.critical("defect; this process ends", exc_info=True)
            logging.shutdown()
            os._exit(EXIT_SOFTWARE)

    def _settle(self, lane: Lane) -> None:
        lane.cancel_timer()
        partition = lane.partition
        if partition is None:
            return
        again_s = partition.settle()
        if partition.paused:
            self._pause(lane)
        elif again_s is not None:
            self._appoint(lane, again_s)
        elif len(partition):
            self._appoint(lane, self.linger_s)

    def _pause(self, lane: Lane) -> None:
        """Give the messages back, in order, and ask once a second whether to go on."""
        log.warning("paused by an operator", extra={"partition": lane.number})
        lane.partition = None
        channel, lane.channel = lane.channel, None
        channel.close()
        self._drain_soon()
        self._appoint_pause_check(lane)

    def _appoint_pause_check(self, lane: Lane) -> None:
        lane.timer = self._consumer.timer.call_after(
            PAUSE_POLL_S, self._guarded, (self._resume_if_allowed, lane)
        )

    def _resume_if_allowed(self, lane: Lane) -> None:
        if lane not in self._lanes:
            return
        try:
            paused = is_paused(self.office.engine, lane.number)
        except Exception as error:  # noqa: BLE001  Not knowing is a reason to wait.
            if not lane.unanswered:
                lane.unanswered = True
                log.warning(
                    "paused, and Postgres does not say for how long",
                    extra={"partition": lane.number, "fault": described(error)},
                )
            paused = True
        if paused:
            self._appoint_pause_check(lane)
            return
        log.info("resumed by an operator", extra={"partition": lane.number})
        lane.timer, lane.unanswered = None, False
        self._open(lane)


@contextmanager
def _reading_ahead(transport: Any) -> Iterator[None]:
    """Let py-amqp ask the kernel for more than the few bytes that it needs next.

    Otherwise a message costs nine system calls. Only for as long as we read on until there
    is nothing left: whoever waits for the socket would not see what was read ahead. TLS has
    a buffer of its own.
    """
    if not isinstance(transport, TCPTransport):
        yield
        return
    receive = transport._quick_recv
    transport._quick_recv = lambda wanted: receive(max(wanted, READ_AHEAD_BYTES))
    try:
        yield
    finally:
        transport._quick_recv = receive


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

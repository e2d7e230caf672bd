"""The step of a Celery worker that consumes partitions: wires channels, time and partitions.

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

AT_ONCE_S: Final = 0.001
"""Not 0: a timer that is due when it is set keeps the event loop from reading its sockets."""

READ_AHEAD_BYTES: Final = 16384
"""More would be copied around once for each part of each message."""


class Lane:
    """A partition with its channel and its next appointment, for as long as a connection lasts.

    Without a partition it is paused.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.channel: Any = None
        self.partition: Partition | None = None
        self.due_at: float | None = None
        self.unanswered = False
        """Whether Postgres did not say how long a pause lasts: told once."""


class LedgerStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Consumes the partitions of one worker; Celery starts it anew with every connection.

    A subclass made by `ledger_step` says whose.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)
    office: Office
    numbers: list[int]
    linger_s: float
    ready_file: Path | None

    _connection: Any
    _lanes: list[Lane]
    _full: list[Lane]
    _timer: Any

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        self._forget()

    def start(self, consumer: Any) -> None:
        """Open every partition's channel. Called again after each reconnection."""
        self._forget()
        self.office.events.connect(consumer.event_dispatcher)
        self._connection = consumer.connection.connection
        self._lanes = [Lane(number) for number in self.numbers]
        for lane in self._lanes:
            self._open(lane)
        # Celery's own reader takes one message a turn of the event loop, and a turn costs
        # more than a message.
        consumer.hub.add_reader(self._connection.sock, self._guarded, self._drain)
        if self.ready_file is not None:
            self.ready_file.touch()
        log.info("consuming", extra={"partitions": self.numbers})

    def stop(self, consumer: Any) -> None:
        """Let go of everything undecided: the broker has it still, in order."""
        lanes = self._lanes
        if self._timer is not None:
            self._timer.cancel()
        self._forget()
        for lane in lanes:
            lane.partition = None
        for lane in lanes:
            if lane.channel is not None:
                with suppress(*consumer.connection_errors, *consumer.channel_errors):
                    lane.channel.close()

    shutdown = stop

    def _forget(self) -> None:
        self._connection = None
        self._lanes = []
        self._full = []
        self._unread = self._cancelled = False
        self._timer, self._timer_at = None, 0.0

    # Messages

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
        channel.basic_consume(
            partition_queue(lane.number).name,
            callback=partial(self._take, lane),
            on_cancel=self._on_cancel,
        )
        self._drain_soon()

    def _take(self, lane: Lane, message: Any) -> None:
        partition = lane.partition
        if partition is None:
            return
        # py-amqp gives a message without a body the empty text instead of no bytes.
        body = message.body if isinstance(message.body, bytes) else bytes(message.body or b"")
        tag = message.delivery_info["delivery_tag"]
        partition.take(Delivery(tag, body, message.properties, time.time()))
        if lane.due_at is None:
            self._appoint(lane, self.linger_s)
        if partition.full and not partition.in_trouble:
            self._full.append(lane)

    def _on_cancel(self, _tag: str) -> None:
        """The broker took a queue from us. An exception here might be swallowed by Celery."""
        self._cancelled = True
        self._drain_soon()

    def _drain(self) -> None:
        """Read what has arrived, until a partition has a whole batch; then settle it at once."""
        if self._connection is None:
            return
        self._unread = False
        self._full.clear()
        try:
            with _reading_ahead(self._connection.transport):
                while not self._full:
                    self._connection.drain_events(timeout=0)
        except TimeoutError:
            return
        self._drain_soon()
        for lane in self._full:
            self._settle(lane)

    def _drain_soon(self) -> None:
        """Read again without being told: what lies in a buffer of ours or of TLS wakes nobody."""
        self._unread = True
        self._arm(time.monotonic() + AT_ONCE_S)

    # Time: one timer for all, because Celery's event loop runs ten a turn and then may sleep.

    def _appoint(self, lane: Lane, after_s: float) -> None:
        lane.due_at = time.monotonic() + max(after_s, AT_ONCE_S)
        self._arm(lane.due_at)

    def _arm(self, at: float) -> None:
        """Have `_tick` called then, or earlier."""
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        after_s = at - time.monotonic()
        self._timer = self._consumer.timer.call_after(after_s, self._guarded, (self._tick,))

    def _tick(self) -> None:
        """Do what is due, and see to it that the rest will be done."""
        self._timer = None
        if self._cancelled:
            raise RecoverableConnectionError("the broker cancelled a consumer")
        if self._unread:
            self._drain()
        now = time.monotonic()
        for lane in self._lanes:
            if lane.due_at is not None and lane.due_at <= now:
                self._settle(lane)
        appointments = [lane.due_at for lane in self._lanes if lane.due_at is not None]
        if appointments:
            self._arm(max(min(appointments), time.monotonic() + AT_ONCE_S))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run something of ours inside Celery's event loop, whose timers swallow exceptions.

        A lost connection or a closed channel is passed on as one that makes Celery connect
        anew. Everything else is a defect of this worker, never of a message: it ends the
        process, which holds nothing that the broker and Postgres do not have.
        """
        try:
            action()
        except (*self._consumer.connection_errors, *self._consumer.channel_errors) as error:
            raise RecoverableConnectionError(described(error)) from error
        except Exception:
            log.critical("defect; this process ends", exc_info=True)
            logging.shutdown()
            os._exit(EXIT_SOFTWARE)

    # Partitions

    def _settle(self, lane: Lane) -> None:
        lane.due_at = None
        partition = lane.partition
        if partition is None:
            self._resume_if_allowed(lane)
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
        self._appoint(lane, PAUSE_POLL_S)

    def _resume_if_allowed(self, lane: Lane) -> None:
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

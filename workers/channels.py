"""A step of a Celery worker that consumes queues: channels, reading and time.

Each queue has a channel of its own, because acknowledging "this and all before" is per
channel. Messages are taken as they come (`workers.inflow`): no kombu, no Celery protocol, no
decoding before our own. A channel is closed and never cancelled: a cancelled consumer may
still hold messages while the standby starts on later ones.
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Final

from amqp.exceptions import RecoverableConnectionError
from celery import bootsteps

from config.logs import described
from workers.inflow import Inflow, Take

log = logging.getLogger(__name__)

EXIT_SOFTWARE: Final = 70
"""sysexits.h: the supervisor starts the worker again, from a state that is known."""

AT_ONCE_S: Final = 0.001
"""Not 0: a timer that is due when it is set keeps the event loop from reading its sockets."""


class Lane:
    """A queue with its channel and its next appointment, for as long as a connection lasts."""

    def __init__(self) -> None:
        self.channel: Any = None
        self.due_at: float | None = None


class ChannelStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Consumes lanes within Celery's event loop; started anew with every connection.

    A subclass says in `_begin` which lanes there are, opens their channels, calls `_settle_next`
    to have a lane settled before more is read, and says in `_settle` what is done with a lane
    whose time has come.
    """

    requires: ClassVar[tuple[str, ...]] = ("celery.worker.consumer.tasks:Tasks",)

    _connection: Any
    _inflow: Inflow
    _timer: Any
    _lanes: list[Any]
    _full: list[Any]

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        self._forget()

    def start(self, consumer: Any) -> None:
        """Open the channels. Called again after each reconnection."""
        self._forget()
        self._connection = consumer.connection.connection
        self._inflow = Inflow(self._connection)
        self._begin()
        # Celery's own reader takes one message a turn of the event loop, and a turn costs
        # more than a message.
        consumer.hub.add_reader(self._connection.sock, self._guarded, self._drain)

    def stop(self, consumer: Any) -> None:
        """Let go of everything that is not settled: the broker has it still, in order."""
        lanes = self._lanes
        if self._timer is not None:
            self._timer.cancel()
        self._forget()
        for lane in lanes:
            if lane.channel is not None:
                with suppress(*consumer.connection_errors, *consumer.channel_errors):
                    lane.channel.close()

    shutdown = stop

    def _begin(self) -> None:
        raise NotImplementedError

    def _settle(self, lane: Any) -> None:
        raise NotImplementedError

    def _forget(self) -> None:
        self._connection = None
        self._lanes, self._full = [], []
        self._unread = self._cancelled = False
        self._timer, self._timer_at = None, 0.0

    # Messages

    def _new_channel(self, prefetch: int, take: Take) -> Any:
        """A channel for one consumer, whose deliveries `take` gets."""
        channel = self._consumer.connection.channel()
        channel.basic_qos(0, prefetch, False)
        self._inflow.deliver(channel, take)
        return channel

    def _settle_next(self, lane: Lane) -> None:
        """Have a lane settled before more is read."""
        if lane not in self._full:
            self._full.append(lane)

    def _drain(self) -> None:
        """Read what has arrived, until a lane has a whole batch; then settle it at once."""
        if self._connection is None:
            return
        self._unread = False
        self._full.clear()
        while not self._full:
            if not self._inflow.read():
                return
        self._drain_soon()
        for lane in self._full:
            self._settle(lane)

    def _drain_soon(self) -> None:
        """Read again without being told: what lies in a buffer of TLS wakes nobody."""
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

    def _rearm(self, at: float) -> None:
        """Have `_tick` called then and not before, and never in this turn of the event loop.

        A timer that has become due meanwhile would run in the same turn, and after the tenth
        Celery's event loop sleeps for a second, whatever else is due.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._arm(max(at, time.monotonic() + AT_ONCE_S))

    def _tick(self) -> None:
        """Do what is due, and see to it that the rest will be done."""
        self._timer = None
        if self._cancelled:
            raise RecoverableConnectionError("the broker cancelled a consumer")
        if self._unread:
            self._drain()
        now = time.monotonic()
        for lane in tuple(self._lanes):
            if lane.due_at is not None and lane.due_at <= now:
                self._settle(lane)
        appointments = [lane.due_at for lane in self._lanes if lane.due_at is not None]
        if self._unread or appointments:
            self._rearm(0.0 if self._unread else min(appointments))

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

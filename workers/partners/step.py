"""The step of a Celery worker that reads partners' inboxes: each in its turn, none for another.

The event loop receives and acknowledges; a few threads do what waits (for Postgres, for the
broker's confirms), one turn of a partner at a time. So a partner whose turn takes long costs
the others a thread and nothing else.
"""

import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import amqp

from config.broker import inbox_queue
from config.logs import described
from storage.partners import Partner
from workers.channels import AT_ONCE_S, ChannelStep, Lane
from workers.flower import TokenBucket
from workers.inflow import properties
from workers.partners.intake import NoPartner
from workers.partners.messages import Message, received
from workers.partners.turn import Desk, Turn

log = logging.getLogger(__name__)

THREADS: Final = 4
"""Partners that have their turn at once."""

TURN_MOST: Final = 3000
"""Messages of one turn, however high a partner's rate: the next one waits no longer than these
take. A turn is spread over all partitions, whose batches are the better the larger they are."""

LOOK_EVERY_S: Final = 1.0
"""How late a new partner's inbox is read, and a removed one's no more."""

SLOWED_S: Final = 0.05
"""How long a partner that is above its rate waits, so that its turns are not tiny."""

BURST_S: Final = 0.1
"""So much of its rate a partner may use at once."""

BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MOST_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Hall:
    """What the step of one worker works with. `look` finds the partners that there are."""

    desk: Desk
    look: Callable[[], list[Partner]]
    linger_s: float
    ready_file: Path | None


class Watch(Lane):
    """Stands among the lanes for the look at who is a partner now."""

    in_trouble = False


class InboxLane(Lane):
    """A partner's inbox with its channel, and the turn that is being taken."""

    def __init__(self, partner: Partner) -> None:
        super().__init__()
        self.held: list[Message] = []
        self.turn: Turn | None = None
        self.busy = False
        """Whether a thread has the turn."""
        self.slowed = False
        """Whether the turn would have been longer, but for the rate."""
        self.missing = False
        """Whether it was told that the broker has no such queue."""
        self._attempts = 0
        self._trouble_since: float | None = None
        self.become(partner)

    def become(self, partner: Partner) -> None:
        """Go by what the partner is now."""
        self.partner = partner
        self._bucket = TokenBucket(partner.rate_per_s, holds_s=BURST_S)
        self.turn_most = max(1, min(TURN_MOST, int(partner.rate_per_s * BURST_S)))
        """What the rate allows at once; so much again is received while it is passed on. So
        a partner has the worker hold no more than its rate is worth."""

    def next_turn(self, desk: Desk) -> Turn | None:
        """The turn that failed before, or one of as many messages as the rate allows now."""
        if self.turn is None and self.held:
            wanted = min(len(self.held), self.turn_most)
            allowed = self._bucket.take(wanted)
            self.slowed = allowed < wanted
            if allowed:
                self.turn = Turn(desk, self.partner, self.held[:allowed])
                del self.held[:allowed]
        return self.turn

    def failed(self, error: Exception) -> float:
        """Seconds to wait before the turn is run again; logged once per outage."""
        if self._trouble_since is None:
            self._trouble_since = time.monotonic()
            log.warning(
                "held in place", extra={"partner": self.partner.name, "fault": described(error)}
            )
        wait_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** min(self._attempts, 10))
        self._attempts += 1
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311  Jitter is no secret.

    def succeeded(self) -> None:
        """The turn is over."""
        self.turn, self._attempts = None, 0
        if self._trouble_since is not None:
            waited_s = round(time.monotonic() - self._trouble_since, 3)
            log.info("goes on", extra={"partner": self.partner.name, "waited_s": waited_s})
            self._trouble_since = None


class InboxStep(ChannelStep):
    """Reads every partner's inbox. A subclass made by `inbox_step` says for which hall."""

    hall: Hall

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._threads = ThreadPoolExecutor(THREADS, "turn")
        self._done: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._at_work: set[int] = set()
        """Clients whose turn is being taken, by a lane of this connection or an earlier one."""

    def _begin(self) -> None:
        self._watch = Watch()
        self._lanes = [self._watch]
        self._look()

    # Work in threads

    def _run(self, work: Callable[[], Any], then: Callable[..., None]) -> None:
        """Do `work` in a thread, then call `then(result, fault)` in the event loop."""
        hub = self._consumer.hub

        def run() -> None:
            result, fault = None, None
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  `then` classes it.
                fault = error
            self._done.put(partial(then, result, fault))
            hub.call_soon(self._collect_soon)

        self._threads.submit(run)

    def _collect_soon(self) -> None:
        if self._connection is not None:
            self._arm(time.monotonic() + AT_ONCE_S)

    def _tick(self) -> None:
        while not self._done.empty():
            self._done.get()()
        super()._tick()

    # Partners

    def _look(self) -> None:
        self._run(self.hall.look, self._looked)

    def _looked(self, found: list[Partner] | None, fault: Exception | None) -> None:
        watch = self._watch
        if fault is not None:
            if not watch.in_trouble:
                log.warning("not told who is a partner", extra={"fault": described(fault)})
        else:
            self._keep(found or [])
            if self.hall.ready_file is not None:
                self.hall.ready_file.touch()
        watch.in_trouble = fault is not None
        self._appoint(watch, LOOK_EVERY_S)

    def _keep(self, found: list[Partner]) -> None:
        """Read the inboxes of these partners and of no others."""
        lanes = {lane.partner.client_id: lane for lane in self._inboxes()}
        for partner in found:
            lane = lanes.pop(partner.client_id, None)
            if lane is None:
                lane = InboxLane(partner)
                self._lanes.append(lane)
            elif lane.partner != partner:
                before = lane.turn_most
                lane.become(partner)
                if lane.turn_most != before:
                    # How much is received ahead is settled when a queue begins to be consumed.
                    self._close(lane)
            if lane.channel is None:
                self._open(lane)
        for lane in lanes.values():
            log.info("a partner is removed", extra={"partner": lane.partner.name})
            self._lanes.remove(lane)
            self._close(lane)

    def _inboxes(self) -> list[InboxLane]:
        return [lane for lane in self._lanes if isinstance(lane, InboxLane)]

    def _open(self, lane: InboxLane) -> None:
        """Consume an inbox from its first message on that was not passed on."""
        channel = self._new_channel(2 * lane.turn_most, partial(self._take, lane))
        try:
            channel.basic_consume(
                inbox_queue(lane.partner.name).name, on_cancel=partial(self._on_cancel, lane)
            )
        except (amqp.NotFound, amqp.AccessRefused, amqp.ResourceLocked) as error:
            if not lane.missing:
                log.warning(
                    "a partner's inbox cannot be read",
                    extra={"partner": lane.partner.name, "fault": described(error)},
                )
            lane.missing = True
            # py-amqp has opened it again; it is never used again.
            self._inflow.close(channel)
            return
        lane.channel, lane.missing = channel, False
        log.info("reading a partner's inbox", extra={"partner": lane.partner.name})
        self._drain_soon()

    def _close(self, lane: InboxLane) -> None:
        """Give back what is not passed on. A turn that is being taken ends, and is forgotten."""
        channel, lane.channel = lane.channel, None
        lane.held, lane.turn, lane.due_at = [], None, None
        # Nobody acts on that turn's end: what comes on the next channel has to ask for its own.
        lane.busy = False
        if channel is not None:
            self._inflow.close(channel)
            self._drain_soon()

    def _on_cancel(self, lane: InboxLane, _tag: str) -> None:
        """The broker took the queue away. An exception here might be swallowed by Celery."""
        log.warning("a partner's inbox is gone", extra={"partner": lane.partner.name})
        lane.missing = True
        self._appoint(lane, AT_ONCE_S)

    # Turns

    def _take(self, lane: InboxLane, tag: int, body: bytes, header: bytes) -> None:
        if lane.channel is None or self._connection is None:
            return
        lane.held.append(received(tag, body, properties(header)))
        if lane.due_at is None and not lane.busy and lane.turn is None:
            self._appoint(lane, self.hall.linger_s)
        if len(lane.held) == lane.turn_most:
            self._is_full(lane)

    def _settle(self, lane: Any) -> None:
        lane.due_at = None
        if lane is self._watch:
            self._look()
        elif lane.missing:
            self._close(lane)
        elif not lane.busy and lane.channel is not None:
            self._take_turn(lane)

    def _take_turn(self, lane: InboxLane) -> None:
        client_id = lane.partner.client_id
        if client_id in self._at_work:
            self._appoint(lane, SLOWED_S)
            return
        turn = lane.next_turn(self.hall.desk)
        if turn is not None:
            self._at_work.add(client_id)
            lane.busy = True
            self._run(turn.run, partial(self._after_turn, lane, turn))
        elif lane.held:
            self._appoint(lane, max(SLOWED_S, 1 / lane.partner.rate_per_s))

    def _after_turn(
        self, lane: InboxLane, turn: Turn, _result: None, fault: Exception | None
    ) -> None:
        self._at_work.discard(lane.partner.client_id)
        lane.busy = False
        if lane.turn is not turn or lane not in self._lanes:
            return
        if isinstance(fault, NoPartner):
            self._close(lane)
        elif fault is not None:
            self._appoint(lane, lane.failed(fault))
        else:
            lane.channel.basic_ack(turn.last_tag, multiple=True)
            lane.succeeded()
            if lane.held:
                self._appoint(lane, SLOWED_S if lane.slowed else 0.0)


def inbox_step(hall: Hall) -> type[InboxStep]:
    """A step for `app.steps["consumer"]` that reads every partner's inbox."""
    return type("PartnerInboxes", (InboxStep,), {"hall": hall})

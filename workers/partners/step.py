"""The step of a Celery worker that reads partners' inboxes: each in its turn, none for another.

The event loop receives and acknowledges; a few threads do what waits (for Postgres, for the
broker's confirms), at most two turns of a partner at a time (`workers.partners.lanes`). So a
partner whose turns take long costs the others two threads and nothing else.
"""

import logging
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
from workers.channels import AT_ONCE_S, ChannelStep
from workers.inflow import properties
from workers.partners.intake import NoPartner
from workers.partners.lanes import TURNS_HELD, InboxLane, PassingLane, Stage, Watch
from workers.partners.messages import received
from workers.partners.turn import Desk, Turn

log = logging.getLogger(__name__)

THREADS: Final = 8
"""Twice as many as partners that have their turn at once; half of them wait for the broker."""

LOOK_EVERY_S: Final = 1.0
"""How late a new partner's inbox is read, and a removed one's no more."""

SLOWED_S: Final = 0.05
"""How long a partner that is above its rate waits, so that its turns are not tiny."""


@dataclass(frozen=True, slots=True)
class Hall:
    """What the step of one worker works with. `look` finds the partners that there are."""

    desk: Desk
    look: Callable[[], list[Partner]]
    linger_s: float
    ready_file: Path | None


class InboxStep(ChannelStep):
    """Reads every partner's inbox. A subclass made by `inbox_step` says for which hall."""

    hall: Hall

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._threads = ThreadPoolExecutor(THREADS, "turn")
        self._done: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._at_work: set[tuple[type[Stage], int]] = set()
        """Stages and clients that a thread works for, on this connection or an earlier one."""

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
                self._lanes += lane, lane.passing
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
            self._lanes.remove(lane.passing)
            self._close(lane)

    def _inboxes(self) -> list[InboxLane]:
        return [lane for lane in self._lanes if isinstance(lane, InboxLane)]

    def _open(self, lane: InboxLane) -> None:
        """Consume an inbox from its first message on that was not passed on."""
        channel = self._new_channel(TURNS_HELD * lane.turn_most, partial(self._take, lane))
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
        """Give back what is not passed on."""
        channel, lane.channel = lane.channel, None
        lane.empty()
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
        if lane.idle:
            self._appoint(lane, self.hall.linger_s)
        if len(lane.held) == lane.turn_most:
            self._settle_next(lane)

    def _settle(self, lane: Any) -> None:
        lane.due_at = None
        if lane is self._watch:
            self._look()
        elif isinstance(lane, PassingLane):
            self._pass_on(lane)
        elif lane.missing:
            self._close(lane)
        elif lane.channel is not None:
            self._take_in(lane)

    def _take_in(self, lane: InboxLane) -> None:
        if lane.turn is None:
            lane.begin(self.hall.desk)
        if lane.turn is None:
            if lane.held:
                self._appoint(lane, max(SLOWED_S, 1 / lane.partner.rate_per_s))
        elif not lane.busy and not lane.turn.is_taken_in:
            self._work(lane, lane.turn.take_in, partial(self._hand_over, lane))

    def _hand_over(self, lane: InboxLane) -> None:
        """Pass a turn on as soon as it is taken in and the one before is through."""
        if lane.hand_over():
            self._pass_on(lane.passing)
            if lane.held:
                self._appoint(lane, SLOWED_S if lane.slowed else 0.0)

    def _pass_on(self, passing: PassingLane) -> None:
        turn = passing.turn
        if turn is not None and not passing.busy:
            self._work(passing, turn.pass_on, partial(self._passed_on, passing, turn))

    def _passed_on(self, passing: PassingLane, turn: Turn) -> None:
        passing.inbox.channel.basic_ack(turn.last_tag, multiple=True)
        passing.turn = None
        self._hand_over(passing.inbox)

    def _work(self, stage: Stage, action: Callable[[], None], then: Callable[[], None]) -> None:
        """Have a thread do what a turn needs at its stage, unless one does so for its client.

        `then` is called once it is done, if the stage still has that turn.
        """
        work = type(stage), stage.partner.client_id
        if work in self._at_work:
            self._appoint(stage, SLOWED_S)
            return
        self._at_work.add(work)
        stage.busy = True
        self._run(action, partial(self._worked, stage, stage.turn, then))

    def _worked(
        self,
        stage: Stage,
        turn: Turn | None,
        then: Callable[[], None],
        _result: None,
        fault: Exception | None,
    ) -> None:
        self._at_work.discard((type(stage), stage.partner.client_id))
        if stage.turn is not turn or stage not in self._lanes:
            return
        stage.busy = False
        if isinstance(fault, NoPartner):
            self._close(stage.inbox)
        elif fault is not None:
            self._appoint(stage, stage.failed(fault))
        else:
            stage.succeeded()
            then()


def inbox_step(hall: Hall) -> type[InboxStep]:
    """A step for `app.steps["consumer"]` that reads every partner's inbox."""
    return type("PartnerInboxes", (InboxStep,), {"hall": hall})

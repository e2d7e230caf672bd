"""Delivering to one endpoint: take its lease, send what is due, note what came of it, go on."""

import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row

from domain.events import Event
from storage import delivering
from storage.deliveries import current_round
from storage.delivering import Due, Health, Place, Tried
from storage.endpoints import signing_secrets
from storage.events import Row as EventsRow
from storage.events import render
from storage.secrets import SecretKeys, SecretUnreadable
from workers.callbacks import schedule
from workers.callbacks.letters import GONE, Attempt, Letter, Posts, SenderGone

log = logging.getLogger(__name__)

SENT_AT_ONCE: Final = 500
"""Deliveries that are noted together: as many at most are sent again after a crash, twice."""

CLAIMED_AT_ONCE: Final = 1000
"""To find what is due costs the same for a few and for many."""

TURN_S: Final = 10.0
"""After that nothing more is sent in this turn. What is on its way then ends before the lease."""

UNREADABLE_WAIT_S: Final = 60.0
"""An endpoint whose secret cannot be read waits for an operator; to ask again costs little."""

_NOT_KEPT: Final = "the event is not kept any more"


class Deliverer:
    """Delivers, for any number of threads: each to another endpoint.

    Endpoints that fail have half of the places, so that they never keep the others waiting.
    """

    def __init__(self, engine: Engine, keys: SecretKeys, sender: Posts, places: int) -> None:
        """`places`: to how many endpoints at once; one is kept for each kind."""
        # Each statement stands for itself, and needs no transaction around it.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._keys = keys
        self._sender = sender
        self._stopping = threading.Event()
        self._places = threading.BoundedSemaphore(max(1, places))
        self._places_of_failing = threading.BoundedSemaphore(max(1, places // 2))

    def stop(self) -> None:
        """Send nothing more. What is on its way is waited for, and noted."""
        self._stopping.set()
        self._sender.stop()

    def deliver(self, endpoint_id: str) -> bool:
        """Send what is due to an endpoint, for TURN_S at most; whether there is more.

        Returns at once if somebody delivers to it already, or there is no place: what is due
        is found again by a sweep. Raises: the driver's errors.
        """
        if not self._places.acquire(blocking=False):
            return False
        try:
            until_s = time.monotonic() + TURN_S
            while time.monotonic() < until_s and not self._stopping.is_set():
                with self._engine.connect() as connection:
                    lease = delivering.take_lease(connection, endpoint_id)
                if lease is None:
                    return False
                if not self._deliver(lease, until_s):
                    return False
                with self._engine.connect() as connection:
                    # Whoever added something while we had the lease left it to us.
                    if not delivering.is_due(connection, endpoint_id):
                        return False
            return not self._stopping.is_set()
        finally:
            self._places.release()

    def _deliver(self, lease: Row[Any], until_s: float) -> bool:
        """Use up a lease. Returns whether to look again."""
        if lease.failing_since is None:
            return self._turn(lease, until_s)
        if not self._places_of_failing.acquire(blocking=False):
            with self._engine.connect() as connection:
                delivering.postpone(connection, lease, schedule.PROBE_FIRST_S)
            return False
        try:
            return self._turn(lease, until_s)
        finally:
            self._places_of_failing.release()

    def _turn(self, lease: Row[Any], until_s: float) -> bool:
        """Deliver until nothing is due, or it is enough. Returns whether to look again."""
        try:
            secrets = signing_secrets(lease, self._keys, datetime.now(UTC))
        except SecretUnreadable:
            log.exception("an endpoint's secret is unreadable", extra={"endpoint_id": lease.id})
            with self._engine.connect() as connection:
                delivering.postpone(connection, lease, UNREADABLE_WAIT_S)
            return False
        turn = _Turn(lease, secrets, until_s)
        if turn.failing and not self._probe(turn):
            return False
        return self._stream(turn)

    def _probe(self, turn: "_Turn") -> bool:
        """Ask an endpoint that fails with one event. Whether to go on."""
        batch = self._started(turn)
        attempts = batch.attempts()
        health = _health(attempts, turn.failing_for_s)
        answers = not health.unknown and not health.failing and not health.gone
        if not self._mark(turn, batch, attempts, health, release=not answers) or not answers:
            return False
        turn.failing, turn.failing_for_s = False, 0.0
        log.info("an endpoint answers again", extra={"endpoint_id": turn.lease.id})
        with self._engine.connect() as connection:
            delivering.catch_up(connection, turn.lease.id)
        return True

    def _stream(self, turn: "_Turn") -> bool:
        """Send batch after batch: one is on its way, one follows it, the one before is noted."""
        batch = self._started(turn)
        stops, more = False, True
        while True:
            following = self._started(turn, but=batch.due) if more else _NOTHING
            attempts = batch.attempts()
            # What stopped the batch before holds, whatever came of those that followed it.
            health = Health(unknown=True) if stops else _health(attempts, turn.failing_for_s)
            stops = stops or health.stops
            ours = self._mark(turn, batch, attempts, health, release=not following.due)
            if not following.due:
                return not stops
            more = ours and not stops and not batch.cut_short(attempts)
            batch = following

    def _started(self, turn: "_Turn", but: Sequence[Due] = ()) -> "_Batch":
        """What is due and not on its way, with its events, is sent; for a probe, one."""
        with self._engine.connect() as connection:
            if not turn.claimed:
                limit = 1 if turn.failing else CLAIMED_AT_ONCE
                turn.claimed = delivering.claim(connection, turn.lease.id, limit, but)
            due, turn.claimed = turn.claimed[:SENT_AT_ONCE], turn.claimed[SENT_AT_ONCE:]
            batch = _Batch(due, turn.outbox.find(connection, due))
        letters = batch.letters()
        if letters:
            for_s = turn.until_s - time.monotonic()
            batch.sending = self._sender.start(
                turn.lease.id, turn.lease.url, letters, turn.secrets, for_s
            )
        return batch

    def _mark(
        self,
        turn: "_Turn",
        batch: "_Batch",
        attempts: Sequence[Attempt | None],
        health: Health,
        *,
        release: bool,
    ) -> bool:
        """Note what came of a batch. Whether the lease is ours and the endpoint as it was."""
        tried = [
            _tried(one, attempt)
            for one, attempt in zip(batch.due, attempts, strict=True)
            if attempt is not None or one.event_id not in batch.events
        ]
        about = {"endpoint_id": turn.lease.id}
        with self._engine.connect() as connection:
            left = delivering.mark(
                connection, turn.lease, turn.leased_until, tried, health, release=release
            )
            if left is None:
                log.warning("a lease had run out", extra=about)
                return False
            if health.gone:
                log.warning("an endpoint is gone: disabled", extra=about)
            elif health.failing and not turn.failing:
                log.warning("an endpoint fails", extra=about)
            elif health.failing and turn.failing_for_s > schedule.ROUND_S:
                delivering.give_up(connection, turn.lease.id, schedule.ROUND_S)
        turn.leased_until = left.leased_until
        return bool(left.enabled and left.url == turn.lease.url)


class _Turn:
    """One lease in use."""

    def __init__(self, lease: Row[Any], secrets: Sequence[bytes], until_s: float) -> None:
        self.lease = lease
        self.secrets = secrets
        self.until_s = until_s
        self.leased_until: datetime = lease.leased_until
        self.failing = lease.failing_since is not None
        self.failing_for_s: float = lease.failing_for_s or 0.0
        self.outbox = _Events(lease.client_id)
        self.claimed: Sequence[Due] = ()
        """Found to be due, and not on their way yet."""


@dataclass
class _Batch:
    """Deliveries whose time has come, with those of their events that are still kept."""

    due: Sequence[Due]
    events: dict[str, Event]
    sending: "Future[list[Attempt | None]] | None" = None

    def letters(self) -> list[Letter]:
        """What is to be sent."""
        return [
            Letter(one.event_id, self.events[one.event_id].document)
            for one in self.due
            if one.event_id in self.events
        ]

    def attempts(self) -> list[Attempt | None]:
        """Wait for what came of each; None for what was not tried."""
        if self.sending is None:
            return [None] * len(self.due)
        try:
            made = iter(self.sending.result())
        except SenderGone:
            return [None] * len(self.due)
        return [next(made) if one.event_id in self.events else None for one in self.due]

    def cut_short(self, attempts: Sequence[Attempt | None]) -> bool:
        """Whether something of it was not tried although it could have been."""
        return any(
            attempt is None and one.event_id in self.events
            for one, attempt in zip(self.due, attempts, strict=True)
        )


_NOTHING: Final = _Batch((), {})


class _Events:
    """The events of a lease's deliveries, with what the client may see now.

    Hundreds of deliveries are of the same few rows: those are kept from one claim to the next.
    """

    def __init__(self, client_id: int) -> None:
        self._client_id = client_id
        self._rows: dict[Place, EventsRow] = {}

    def find(self, connection: Connection, due: Sequence[Due]) -> dict[str, Event]:
        """By id; what is not kept any more is missing."""
        ordinals: dict[Place, list[int]] = defaultdict(list)
        for one in due:
            ordinals[one.place].append(one.ordinal)
        known = {place: row for place, row in self._rows.items() if place in ordinals}
        unknown = ordinals.keys() - known.keys()
        self._rows = known | delivering.rows_at(connection, self._client_id, unknown)
        wanted = [delivering.only(row, ordinals[place]) for place, row in self._rows.items()]
        return {event.id: event for _, event in render(connection, self._client_id, wanted)}


def _tried(due: Due, attempt: Attempt | None) -> Tried:
    """What becomes of a delivery. Without its event there is nothing to send, ever."""
    if attempt is None:
        lost = Attempt(datetime.now(UTC), 0, None, _NOT_KEPT)
        return Tried(due, "exhausted", 0.0, lost.record())
    record = attempt.record()
    if attempt.accepted:
        return Tried(due, "delivered", 0.0, record)
    round_ = current_round(json.loads(due.attempts), due.event_at)
    age_s = (attempt.began_at - round_.since).total_seconds()
    wait_s = schedule.wait_s(round_.attempts + 1, age_s)
    if wait_s is None:
        return Tried(due, "exhausted", 0.0, record)
    return Tried(due, "pending", max(wait_s, attempt.retry_after_s or 0.0), record)


def _health(made: Sequence[Attempt | None], failing_for_s: float) -> Health:
    """What a round says of its endpoint: it fails if nothing was accepted, or if it says so."""
    attempts = [attempt for attempt in made if attempt is not None]
    if not attempts:
        return Health(unknown=True)
    if any(attempt.status == GONE for attempt in attempts):
        return Health(gone=True)
    waits_s = [
        attempt.retry_after_s
        for attempt in attempts
        if attempt.retry_after_s and not attempt.accepted
    ]
    if waits_s:
        return Health(failing=True, probe_wait_s=max(waits_s))
    if any(attempt.accepted for attempt in attempts):
        return Health()
    return Health(failing=True, probe_wait_s=schedule.probe_wait_s(failing_for_s))

"""Delivering to one endpoint: take its lease, send what is due, note what came of it, go on."""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import to_json
from sqlalchemy import Connection, Engine, Row

from domain.events import Event
from storage import delivering
from storage.deliveries import current_round
from storage.delivering import Due, Health, Tried
from storage.endpoints import signing_secrets
from storage.events import render
from storage.secrets import SecretKeys, SecretUnreadable
from workers.callbacks import schedule
from workers.callbacks.sender import IN_FLIGHT, Attempt, Letter, Sender

log = logging.getLogger(__name__)

CLAIMED_AT_ONCE: Final = 100

TURN_S: Final = 10.0
"""After that nothing more is sent in this turn. What is on its way then ends before the lease."""

UNREADABLE_WAIT_S: Final = 60.0
"""An endpoint whose secret cannot be read waits for an operator; to ask again costs little."""

GONE: Final = 410
_NOT_KEPT: Final = "the event is not kept any more"


class Deliverer:
    """Delivers, for any number of threads: each to another endpoint.

    Endpoints that fail have half of the places, so that they never keep the others waiting.
    """

    def __init__(self, engine: Engine, keys: SecretKeys, sender: Sender, places: int) -> None:
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
        try:
            secrets = signing_secrets(lease, self._keys, datetime.now(UTC))
        except SecretUnreadable:
            log.exception("an endpoint's secret is unreadable", extra={"endpoint_id": lease.id})
            with self._engine.connect() as connection:
                delivering.postpone(connection, lease, UNREADABLE_WAIT_S)
            return False
        leased_until, failing = lease.leased_until, lease.failing_since is not None
        while True:
            # An endpoint that fails is asked with one event, not with a hundred.
            limit = 1 if failing else CLAIMED_AT_ONCE
            with self._engine.connect() as connection:
                due = delivering.claim(connection, lease.id, limit)
                events = _events(connection, lease.client_id, due)
            attempts = self._send(lease.url, due, events, secrets, until_s)
            tried = [
                _tried(one, attempt)
                for one, attempt in zip(due, attempts, strict=True)
                if attempt is not None or one.event_id not in events
            ]
            health = _health([one for one in attempts if one is not None], lease)
            over = (
                len(due) < limit
                or health.failing
                or health.gone
                or time.monotonic() >= until_s
                or self._stopping.is_set()
            )
            with self._engine.connect() as connection:
                left = delivering.mark(connection, lease, leased_until, tried, health, release=over)
                if left is None:
                    log.warning("a lease had run out", extra={"endpoint_id": lease.id})
                    return False
                self._after(connection, lease, failing, health)
            if health.gone:
                log.warning("an endpoint is gone: disabled", extra={"endpoint_id": lease.id})
                return False
            if over:
                return not health.failing
            failing = failing and health.unknown
            leased_until = left.leased_until
            if not left.enabled or left.url != lease.url:
                with self._engine.connect() as connection:
                    unknown = Health(unknown=True)
                    delivering.mark(connection, lease, leased_until, [], unknown, release=True)
                return True

    def _send(
        self,
        url: str,
        due: Sequence[Due],
        events: dict[str, Event],
        secrets: Sequence[bytes],
        until_s: float,
    ) -> list[Attempt | None]:
        """What came of each delivery; None if it was not tried."""
        letters = [
            Letter(one.event_id, to_json(events[one.event_id].envelope()))
            for one in due
            if one.event_id in events
        ]
        if not letters:
            return [None] * len(due)
        watch = _Watch(until_s, self._stopping)
        attempts = iter(self._sender.send(url, letters, secrets, watch.goes_on, watch.note))
        return [next(attempts) if one.event_id in events else None for one in due]

    def _after(
        self, connection: Connection, lease: Row[Any], failing: bool, health: Health
    ) -> None:
        """What follows for deliveries that were not tried now."""
        if failing and not health.failing and not health.unknown:
            log.info("an endpoint answers again", extra={"endpoint_id": lease.id})
            delivering.catch_up(connection, lease.id)
        elif not failing and health.failing:
            log.warning("an endpoint fails", extra={"endpoint_id": lease.id})
        elif failing and (lease.failing_for_s or 0) > schedule.ROUND_S:
            delivering.give_up(connection, lease.id, schedule.ROUND_S)


class _Watch:
    """Says when to stop sending: time is up, we are ending, or the receiver has had enough."""

    def __init__(self, until_s: float, stopping: threading.Event) -> None:
        self._until_s = until_s
        self._stopping = stopping
        self._failed_in_a_row = 0
        self._told_to_stop = False

    def goes_on(self) -> bool:
        return not (
            self._told_to_stop
            or self._failed_in_a_row >= IN_FLIGHT
            or self._stopping.is_set()
            or time.monotonic() >= self._until_s
        )

    def note(self, attempt: Attempt) -> None:
        self._failed_in_a_row = 0 if attempt.accepted else self._failed_in_a_row + 1
        if attempt.status == GONE or (attempt.retry_after_s and not attempt.accepted):
            self._told_to_stop = True


def _events(connection: Connection, client_id: int, due: Sequence[Due]) -> dict[str, Event]:
    """The events of these deliveries by id, with what the client may see now."""
    if not due:
        return {}
    found = render(connection, client_id, [one.ref for one in due])
    return {event.id: event for _, event in found}


def _tried(due: Due, attempt: Attempt | None) -> Tried:
    """What becomes of a delivery. Without its event there is nothing to send, ever."""
    if attempt is None:
        lost = Attempt(datetime.now(UTC), 0, None, _NOT_KEPT)
        return Tried(due, "exhausted", 0.0, lost.record())
    record = attempt.record()
    if attempt.accepted:
        return Tried(due, "delivered", 0.0, record)
    round_ = current_round(due.attempts, due.event_at)
    age_s = (attempt.began_at - round_.since).total_seconds()
    wait_s = schedule.wait_s(round_.attempts + 1, age_s)
    if wait_s is None:
        return Tried(due, "exhausted", 0.0, record)
    return Tried(due, "pending", max(wait_s, attempt.retry_after_s or 0.0), record)


def _health(attempts: Sequence[Attempt], lease: Row[Any]) -> Health:
    """What a round says of its endpoint: it fails if nothing was accepted, or if it says so."""
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
    return Health(failing=True, probe_wait_s=schedule.probe_wait_s(lease.failing_for_s or 0))

"""From the outbox to deliveries and to partners' queues."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine

from config.logs import described
from producers.messages import Reason, Unconfirmed
from storage import delivering, handing_on
from storage.events import Row, Written, render
from workers.partners.outbound import Outbound

log = logging.getLogger(__name__)

LEFT_AFTER_S: Final = 2.0
"""A row that has waited for so long was forgotten by whoever was to hand it on."""


HANDS: Final = 4
"""Transactions at once: what waits for one partner's queue leaves others to the next."""


class _Handed(NamedTuple):
    """What one transaction left: clients whose queues take nothing, and rows that were too many."""

    waiting: set[int]
    later: list[Row]


class HandOn:
    """Hands rows of events on, for any number of threads.

    What comes while all hands are busy is left to them, and goes in one transaction with one
    confirm: after an outage there are thousands of small batches, and each alone would wait for
    a connection, for Postgres and for the broker.
    """

    def __init__(self, engine: Engine, outbound: Outbound, tell: Callable[[str], None]) -> None:
        """`tell` is called with the id of each endpoint for which there is something new."""
        self._engine = engine
        self._outbound = outbound
        self._tell = tell
        self._named: deque[Written] = deque()
        self._hands = threading.BoundedSemaphore(HANDS)
        self._sweeping = threading.Lock()

    def named(self, refs: Iterable[tuple[str, int, int]]) -> None:
        """Have handed on what these transactions told, each as `Written`, its time in RFC 3339.

        What somebody else hands on at the same time, or did before, is left alone. Raises: the
        driver's errors; what was to be handed on is then left to the sweep.
        """
        self._named.extend(Written(datetime.fromisoformat(at), *rest) for at, *rest in refs)
        # What one partner's queue does not take is left to the sweep, and not tried again here.
        waiting: set[int] = set()

        def find(connection: Connection) -> list[Row]:
            rows = handing_on.named_rows(connection, handing_on.taken_at_once(self._named))
            return [row for row in rows if row.client_id not in waiting]

        # A hand looks again after it is free, so what came too late for it is not left lying.
        while self._named and self._hands.acquire(blocking=False):
            try:
                handed = self._hand_on(find)
                if handed is not None:
                    waiting |= handed.waiting
                    self._named.extend(
                        Written(row.at, row.xact, len(row.instruction_ids)) for row in handed.later
                    )
            finally:
                self._hands.release()

    def left(self) -> None:
        """Hand on whatever has waited for LEFT_AFTER_S, until there is nothing or it stays.

        Does nothing while another thread is at it. Raises: the driver's errors.
        """
        if not self._sweeping.acquire(blocking=False):
            return
        # However much waits for one partner's queue, the younger rows of others are found.
        waiting: set[int] = set()

        def find(connection: Connection) -> list[Row]:
            return handing_on.left_rows(connection, LEFT_AFTER_S, waiting)

        try:
            while (handed := self._hand_on(find)) is not None:
                waiting |= handed.waiting
        finally:
            self._sweeping.release()

    def _hand_on(self, find: Callable[[Connection], list[Row]]) -> "_Handed | None":
        """Hand on the rows that are found, as many as go at once. None if there is no row."""
        with self._engine.begin() as connection:
            rows = find(connection)
            if not rows:
                return None
            endpoint_ids, added = handing_on.add(connection, rows)
            waiting = self._publish(connection, rows[:added])
            done = [row for row in rows[:added] if row.client_id not in waiting]
            handing_on.handed_on(connection, done)
        for endpoint_id in delivering.ask(self._engine, endpoint_ids):
            self._tell(endpoint_id)
        return _Handed(waiting, rows[added:])

    def _publish(self, connection: Connection, rows: Sequence[Row]) -> set[int]:
        """Publish what is for partners. Returns those whose queue did not take it."""
        names = handing_on.partner_names(connection, {row.client_id for row in rows})
        waiting: set[int] = set()
        away = False
        for client_id, name in names.items():
            own = [row for row in rows if row.client_id == client_id]
            reason = None if away else self._unconfirmed(connection, client_id, name, own)
            if away or reason is not None:
                waiting.add(client_id)
            # A queue that refuses is one partner's trouble. If the broker is away, the others
            # would wait for it just as long.
            away = away or reason not in (None, "nacked")
        return waiting

    def _unconfirmed(
        self, connection: Connection, client_id: int, name: str, rows: Sequence[Row]
    ) -> Reason | None:
        """Why the broker has not promised to keep these rows' events, if it has not."""
        try:
            events = [event for _, event in render(connection, client_id, rows)]
            self._outbound.publish(name, events)
        except Unconfirmed as error:
            log.warning(
                "events for a partner wait", extra={"partner": name, "fault": described(error)}
            )
            return error.reason
        return None

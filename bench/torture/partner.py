"""A partner's side: lanes that publish to an inbox, and one reader of the outbox."""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Final

from bench.torture.callbacks import OUTCOMES, note_event
from bench.torture.http import next_attempt
from bench.torture.journal import ACCEPTED, PARTNER, UNKNOWN, Answered, Journal, Listener, Sent
from bench.torture.pace import Pace
from bench.torture.plan import Order, Plan
from domain.identity import instruction_id
from producers import partner as kit

_GROUP_MOST: Final = 60
_FLUSH_S: Final = 20.0


class Partner:
    """One partner with a connection of its own. What the broker has confirmed must be decided."""

    door: Final = PARTNER

    def __init__(self, journal: Journal, client_id: int, broker_url: str) -> None:
        self.client_id = client_id
        self.outcomes: dict[str, asyncio.Event] = {}
        """Set once the outcome of an instruction was told; only those that are waited for."""
        self._journal = journal
        self._kit = kit.Partner(broker_url)
        self._reader: threading.Thread | None = None
        self._loop = asyncio.get_running_loop()

    def listen(self) -> None:
        """Begin to read events."""
        self._journal.listeners.append(Listener(PARTNER, self.client_id))
        self._reader = threading.Thread(target=self._read, name="partner events", daemon=True)
        self._reader.start()

    async def send(self, orders: Sequence[Order]) -> None:
        """Publish orders in order; returns once the broker has confirmed all of them."""
        attempt = next_attempt()
        items = tuple(order.item(self.client_id) for order in orders)
        self._journal.sent.append(Sent(time.monotonic(), attempt, self.door, self.client_id, items))
        await asyncio.to_thread(self._publish, orders)
        # What is not sound may be refused by the receipt that follows.
        verdicts = tuple(ACCEPTED if order.sound else UNKNOWN for order in orders)
        self._journal.answered.append(Answered(time.monotonic(), attempt, 0, verdicts))

    async def fly(self, order: Order, timeout_s: float) -> bool:
        """Send a canary and say whether its outcome was told in time."""
        id_ = instruction_id(self.client_id, order.key)
        self.outcomes[id_] = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                await self.send([order])
                await self.outcomes[id_].wait()
        except TimeoutError:
            return False
        finally:
            del self.outcomes[id_]
        return True

    async def run(self, plan: Plan, pace: Pace, stopping: asyncio.Event) -> None:
        """Send what a plan draws until told to stop."""
        while not stopping.is_set():
            count = pace.take(_GROUP_MOST)
            if count:
                await self.send(plan.take(count))
            await asyncio.sleep(plan.chance.uniform(0.05, 0.5))

    async def close(self) -> None:
        """Disconnect."""
        await asyncio.to_thread(self._kit.close)

    def _publish(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self._kit.send(order.type, order.data, order.key)
        while True:
            try:
                self._kit.flush(_FLUSH_S)
            except TimeoutError:
                continue  # The kit goes on by itself.
            return

    def _read(self) -> None:
        try:
            for event in self._kit.events():
                told = {
                    "version": 1,
                    "id": event.id,
                    "type": event.type,
                    "timestamp": event.timestamp,
                    "data": event.data,
                }
                self._loop.call_soon_threadsafe(self._told, told)
        except kit.PartnerError:
            return  # Closed.

    def _told(self, event: dict[str, object]) -> None:
        note_event(self._journal, PARTNER, self.client_id, event)
        if event["type"] in OUTCOMES:
            data = event["data"]
            assert isinstance(data, dict)
            waited_for = self.outcomes.get(data["id"])
            if waited_for is not None:
                waited_for.set()

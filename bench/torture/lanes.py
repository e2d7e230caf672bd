"""Clients at work: each lane sends what its plan draws, and repeats what it is not sure of."""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from bench.torture.http import Http
from bench.torture.journal import ACCEPTED, FINAL, MISSING, UNKNOWN
from bench.torture.pace import Pace
from bench.torture.plan import Order, Plan
from domain.identity import instruction_id

BATCH_MOST: Final = 150

_ABANDONED: Final = 0.03
"""How often a client that got no answer never comes back."""

_OPENINGS: Final = frozenset({"customer.open", "wallet.open"})


class Poller:
    """Polls a sample of what was accepted until it is decided."""

    def __init__(self, http: Http, chance: random.Random, share: float) -> None:
        self._http = http
        self._chance = chance
        self._share = share
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, plan: Plan, order: Order) -> None:
        """An order was accepted: poll it if it is drawn, and if what it opens is to be used."""
        is_opening = order.type in _OPENINGS
        if not is_opening and (self._chance.random() > self._share or len(self._tasks) > 200):
            return
        task = asyncio.get_running_loop().create_task(
            self._poll(plan, order, is_opening=is_opening)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def until_opened(self, plan: Plan, order: Order) -> None:
        """Poll an opening until it has succeeded; its plan knows of it then."""
        id_ = instruction_id(plan.client_id, order.key)
        while await self._http.poll(id_) != "succeeded":
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))
        plan.opened(order)

    async def settle(self) -> None:
        """Wait for all that is being polled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def give_up(self) -> None:
        """Poll no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _poll(self, plan: Plan, order: Order, *, is_opening: bool) -> None:
        id_ = instruction_id(plan.client_id, order.key)
        pause_s = 0.1
        while True:
            wait_s = self._chance.choice((0, 0, 3))
            status = await self._http.poll(id_, wait_s)
            if status in FINAL:
                if is_opening and status == "succeeded":
                    plan.opened(order)
                # Once more some time later, when a cache may have been lost.
                if self._chance.random() < 0.3:
                    await asyncio.sleep(self._chance.uniform(0, 5))
                    await self._http.poll(id_)
                return
            if status == MISSING and not is_opening:
                return  # The checker holds on to it.
            await asyncio.sleep(pause_s)
            pause_s = min(2.0, pause_s * 1.6)


class Lane:
    """One client thread: what it sends next waits until it knows of what it sent before."""

    def __init__(
        self, http: Http, plan: Plan, pace: Pace, poller: Poller, *, batches: bool
    ) -> None:
        self._http = http
        self.plan = plan
        self._pace = pace
        self._poller = poller
        self._batches = batches
        self._chance = plan.chance

    async def run(self, stopping: asyncio.Event) -> None:
        """Send until told to stop; what is under way is brought to its end."""
        while not stopping.is_set():
            count = self._pace.take(BATCH_MOST if self._batches else 1)
            if count:
                await self.send(self.plan.take(count))
            await asyncio.sleep(self._chance.uniform(0.05, 0.5 if self._batches else 0.2))

    async def send(self, orders: Sequence[Order], *, insist: bool = False) -> None:
        """Bring orders in, in their order, repeating the same until it is known to be in."""
        pause_s = 0.2
        while True:
            verdicts = await self._once(orders)
            for order, verdict in zip(orders, verdicts, strict=True):
                if verdict == ACCEPTED:
                    self._poller.watch(self.plan, order)
            orders = [o for o, verdict in zip(orders, verdicts, strict=True) if verdict == UNKNOWN]
            if not orders:
                return
            if not insist and self._chance.random() < _ABANDONED:
                return
            await asyncio.sleep(pause_s * self._chance.uniform(0.5, 1.5))
            pause_s = min(2.0, pause_s * 2)

    async def _once(self, orders: Sequence[Order]) -> list[str]:
        if self._batches:
            return await self._http.batch(orders)
        wait_s = self._chance.choice((0, 0, 2))
        return [(await self._http.single(order, wait_s))[0] for order in orders]

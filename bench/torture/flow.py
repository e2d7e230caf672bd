"""Whether money flows: a small transfer through every API to every partition, end to end."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from bench.torture.http import Http
from bench.torture.journal import FINAL
from bench.torture.plan import Plan, Wallet
from domain.identity import partition_of

_EVERY_S: Final = 0.25
_WAIT_S: Final = 2

_AT_ONCE_MOST: Final = 4
"""Canaries on one way at once: a system in trouble is not to be flooded by the question."""


_BY_QUEUE: Final = (-1, -1)

Fly = Callable[[], Awaitable[bool]]
"""Sends one canary; whether it was decided while one waited."""


class Back(NamedTuple):
    """Seconds until money flowed again over HTTP, and over a partner's queues."""

    http_s: float
    partner_s: float


class Stuck(Exception):
    """Money did not flow again in time; what is missing is named."""


class Flow:
    """Sends canaries. `wallets` holds a funded wallet of each partition, in their order."""

    def __init__(
        self, http: Http, plan: Plan, wallets: Sequence[Wallet], by_queue: Fly | None = None
    ) -> None:
        """`by_queue` sends a canary through a partner's queues."""
        self._by_queue = by_queue
        self._http = http
        self._plan = plan
        self.wallets = wallets

    async def back(self, timeout_s: float) -> Back:
        """Wait until one canary sent after the call was decided, for each API and partition.

        Raises: Stuck.
        """
        begun = time.monotonic()
        by_door = {True: 0.0, False: 0.0}
        missing = {
            (address, partition)
            for address in range(len(self._http.addresses))
            for partition in range(len(self.wallets))
        }
        if self._by_queue is not None:
            missing.add(_BY_QUEUE)
        flying: dict[asyncio.Task[bool], tuple[int, int]] = {}
        while missing:
            if time.monotonic() - begun > timeout_s:
                ways = ", ".join(
                    "a partner" if (a, p) == _BY_QUEUE else f"api {a + 1} to partition {p}"
                    for a, p in sorted(missing)
                )
                raise Stuck(f"no flow within {timeout_s:.0f} s: {ways}")
            in_the_air = Counter(flying.values())
            for way in sorted(missing):
                if in_the_air[way] < _AT_ONCE_MOST:
                    flying[asyncio.create_task(self._flies(*way))] = way
            done, _ = await asyncio.wait(
                flying, timeout=_EVERY_S, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                way = flying.pop(task)
                if task.result() and way in missing:
                    missing.discard(way)
                    by_door[way == _BY_QUEUE] = time.monotonic() - begun
        await asyncio.gather(*flying)
        return Back(by_door[False], by_door[True])

    async def _flies(self, address: int, partition: int) -> bool:
        """Send one canary and say whether it was decided while we waited."""
        if (address, partition) == _BY_QUEUE:
            return self._by_queue is not None and await self._by_queue()
        destination = self.wallets[(partition + 1) % len(self.wallets)]
        order = self._plan.canary(self.wallets[partition], destination)
        await asyncio.sleep(self._plan.chance.uniform(0, _EVERY_S))
        _, status = await self._http.single(order, _WAIT_S, address)
        return status in FINAL


def wallet_of_each_partition(wallets: Sequence[Wallet], partitions: int) -> list[Wallet]:
    """The first wallet of each partition. Raises: LookupError if one has none."""
    found = {partition_of(wallet.id, partitions): wallet for wallet in reversed(wallets)}
    return [found[partition] for partition in range(partitions)]

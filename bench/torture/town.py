"""The whole system as it is broken: services, processes, and a bad network between them."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.ground import PARTITIONS, Ground
from bench.torture.proxy import Link
from ops.errors import OperatorError
from ops.stack.application import Api, ApplicationProcess, Worker
from ops.stack.ports import HOST

STATEMENT_TIMEOUT_MS: Final = 1000
"""Lowered from 10 s, so that the AMQP heartbeat, which follows from it, is 4 s."""

HEARTBEAT_S: Final = 4.0

UNDER_FAKETIME: Final = Path(__file__).parent / "under_faketime"

_SERVICES: Final = {"postgres": "DATABASE", "rabbitmq": "BROKER", "redis": "REDIS"}

_RESTART_PAUSE_S: Final = 0.2

_LAST_ORDERS_S: Final = 2.0
"""What beat has sent last is done, or has expired, before the callback worker ends."""


class Resident:
    """One process of the system, kept alive as a supervisor would, with links of its own."""

    def __init__(
        self, name: str, role: str, process: ApplicationProcess, links: Mapping[str, Link]
    ) -> None:
        self.name = name
        self.role = role
        self.process = process
        self.links = links
        self.clock_file: Path | None = None
        self.excused = False
        """Whether a fault is ending it: then its end is no surprise."""
        self.up = asyncio.Event()

    async def keep(self, on_surprise: Callable[[str], None]) -> None:
        """Start it, and start it again whenever it has ended. Runs until it is cancelled."""
        while True:
            if not await asyncio.to_thread(self.process.running):
                if self.up.is_set() and not self.excused:
                    on_surprise(self.name)
                self.up.clear()
                # It may not come up while what it needs is away: a supervisor tries again.
                with contextlib.suppress(OperatorError):
                    await asyncio.to_thread(self.process.start)
                    self.excused = False
                    self.up.set()
            await asyncio.sleep(_RESTART_PAUSE_S)

    async def end(self, how: Callable[[], None]) -> None:
        """End it by kill or by stop; returns once it is up again."""
        # Before it is ended: it may be noticed, and started, at any moment.
        self.excused = True
        self.up.clear()
        await asyncio.to_thread(how)
        await self.up.wait()


class Town:
    """Everything that can be broken. Made inside an event loop; `open` before use."""

    def __init__(self, ground: Ground, preload: Mapping[str, str]) -> None:
        """`preload` is added to the environment of workers: the clock that can be moved."""
        self.ground = ground
        self.residents: dict[str, Resident] = {}
        self.surprises: list[str] = []
        self._preload = preload
        self._keepers: list[asyncio.Task[None]] = []
        self._front: list[Link] = []
        self.partner_port = 0

    @property
    def links(self) -> dict[str, Link]:
        """Every link by name."""
        found = {link.name: link for link in self._front}
        for resident in self.residents.values():
            found |= {link.name: link for link in resident.links.values()}
        return found

    @property
    def addresses(self) -> list[str]:
        """Where clients reach each API, over a link."""
        return [
            f"http://{HOST}:{link.port}" for link in self._front if link.name.startswith("clients→")
        ]

    def of_role(self, role: str) -> list[Resident]:
        """The processes of one kind."""
        return [each for each in self.residents.values() if each.role == role]

    async def open(self) -> None:
        """Start every process and wait until all are up. Raises: OperatorError."""
        for name in ("api-1", "api-2"):
            await self._settle(name, "api", ["api"], kind=Api)
        for name, numbers in (("ledger-a", "0-3"), ("ledger-b", "4-7"), ("standby", "0-7")):
            await self._settle(name, "ledger", ["worker", "ledger", "--partitions", numbers])
        for name in ("inbox", "callbacks"):
            await self._settle(name, name, ["worker", name])
        await self._settle("beat", "beat", ["beat"])
        await asyncio.gather(
            *(asyncio.to_thread(each.process.start) for each in self.residents.values())
        )
        for resident in self.residents.values():
            resident.up.set()
            keeper = asyncio.create_task(resident.keep(self.surprises.append))
            self._keepers.append(keeper)
        for resident in self.of_role("api"):
            await self._outside(f"clients→{resident.name}", resident.process.port("http"))
        port = urlsplit(self._url("rabbitmq")).port
        self.partner_port = (await self._outside("partner→rabbitmq", port or 0, amqp=True)).port

    async def receive(self, port: int) -> int:
        """A port that leads to a client's own server, over a link."""
        return (await self._outside("callbacks→receiver", port)).port

    async def close(self) -> None:
        """Stop all processes in order: first what sends to others, then the others."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        first = ("beat", "api")
        for rest in (False, True):
            stopping = [each for each in self.residents.values() if (each.role in first) != rest]
            await asyncio.gather(*(asyncio.to_thread(each.process.stop) for each in stopping))
            await asyncio.sleep(0 if rest else _LAST_ORDERS_S)
        for link in self.links.values():
            link.close()

    async def whole(self, timeout_s: float) -> None:
        """Wait until every process is up. Raises: TimeoutError."""
        async with asyncio.timeout(timeout_s):
            for resident in self.residents.values():
                await resident.up.wait()

    async def busiest(self, role: str, over_s: float = 0.6) -> list[Resident]:
        """Processes of a role, the one that gets most messages first.

        Who is active and who stands by changes with every fault; the broker's deliveries tell.
        """
        residents = self.of_role(role)
        before = {each.name: each.links["rabbitmq"].delivered for each in residents}
        await asyncio.sleep(over_s)
        return sorted(
            residents, key=lambda each: before[each.name] - each.links["rabbitmq"].delivered
        )

    async def _settle(
        self,
        name: str,
        role: str,
        arguments: Sequence[str],
        *,
        kind: type[ApplicationProcess] = Worker,
    ) -> None:
        links = await self._links(name)
        clock_file = self.ground.folder / "clocks" / name

        def variables() -> dict[str, str]:
            given = {
                **self.ground.variables(),
                **{
                    f"TEKANA_{variable}_URL": through(self._url(service), links[service].port)
                    for service, variable in _SERVICES.items()
                },
                "TEKANA_STATEMENT_TIMEOUT_MS": str(STATEMENT_TIMEOUT_MS),
            }
            if isinstance(process, Worker):
                given["TEKANA_READY_FILE"] = str(process.ready_file)
                given |= self._preload
                if self._preload:
                    given["PYTHONPATH"] = f"{UNDER_FAKETIME}:{given['PYTHONPATH']}"
                    given["FAKETIME_TIMESTAMP_FILE"] = str(clock_file)
            else:
                given["TEKANA_API_PORT"] = str(process.port("http"))
            return given

        process = kind(name, self.ground.services.run, list(arguments), variables)
        process.settle_ports()
        resident = Resident(name, role, process, links)
        if self._preload and isinstance(process, Worker):
            clock_file.parent.mkdir(exist_ok=True)
            clock_file.write_text("+0\n")
            resident.clock_file = clock_file
        self.residents[name] = resident

    async def _outside(self, name: str, port: int, *, amqp: bool = False) -> Link:
        link = Link(name, port, amqp=amqp)
        await link.open()
        self._front.append(link)
        return link

    async def _links(self, name: str) -> dict[str, Link]:
        made = {}
        for service in _SERVICES:
            port = urlsplit(self._url(service)).port
            assert port is not None
            made[service] = Link(f"{name}→{service}", port, amqp=service == "rabbitmq")
            await made[service].open()
        return made

    def _url(self, service: str) -> str:
        services = self.ground.services
        return {
            "postgres": services.database_url,
            "rabbitmq": services.broker_url,
            "redis": services.redis_url,
        }[service]


def through(url: str, port: int) -> str:
    """The same address by way of a port of ours."""
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}@{HOST}:{port}").geturl()


__all__ = ["HEARTBEAT_S", "PARTITIONS", "Resident", "Town", "through"]

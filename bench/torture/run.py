"""One run: the town under traffic and faults, then everything judged."""

import asyncio
import logging
import random
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from bench import machine
from bench.ground import PARTITIONS, Ground
from bench.progress import Steps
from bench.torture import disk as disks
from bench.torture import network_faults, process_faults, service_faults, snapshot
from bench.torture.case import Violation
from bench.torture.checker import check
from bench.torture.clocks import preload
from bench.torture.faults import Fault, Missed, Scene, Table
from bench.torture.flow import Stuck
from bench.torture.journal import FINAL, Journal
from bench.torture.pace import Pace
from bench.torture.poison import spread
from bench.torture.schedule import Planned, rounds
from bench.torture.town import Town
from bench.torture.world import World
from config.logs import JsonLines

_STUCK_AFTER_S: Final = 60.0
_DRAIN_TIMEOUT_S: Final = 1200.0
_NEWBORN_S: Final = 3.0
"""RabbitMQ 3.10 loses the leader of a quorum queue that is killed within 1.5 s of its making."""

_OUR_QUEUES: Final = ("ledger.", "in.", "out.", "callbacks.")

_UNTOLD: Final = """
    SELECT (SELECT count(*) FROM events WHERE pending)
         + (SELECT count(*) FROM deliveries WHERE status = 'pending')
"""

_SOONER: Final = (
    """
    UPDATE deliveries SET next_attempt_at = now()
    WHERE status = 'pending' AND next_attempt_at > now() + interval '15 s'
    """,
    "UPDATE callback_endpoints SET probe_at = now() WHERE probe_at > now() + interval '15 s'",
)

_QUIET_S: Final = (0.2, 1.5)


@dataclass(slots=True)
class Struck:
    """One fault of a round, as it went. Times are seconds since the traffic began."""

    round: int
    kind: str
    detail: str
    began_s: float
    ended_s: float
    missed: bool = False
    """Nothing was there to be broken: it does not count."""


@dataclass(slots=True)
class Round:
    """Faults that struck together, and when money flowed again after the last of them."""

    number: int
    faults: list[Struck] = field(default_factory=list)
    back_s: float | None = None
    """Seconds from the return of the last part to the flow's; None if it stayed away."""
    back_http_s: float | None = None
    back_partner_s: float | None = None
    """The same over HTTP alone, and over a partner's queues alone, there and back."""
    patience_s: float = 0.0
    gap_s: float = 0.0
    """The longest time without any outcome that a client saw, from the first fault on."""

    @property
    def late(self) -> bool:
        """Whether the flow came back later than its target, or never."""
        return self.back_s is None or self.back_s > self.patience_s


@dataclass(slots=True)
class Options:
    """What a run is asked for."""

    minutes: float
    seed: int
    kinds: Sequence[str]
    per_s: float


@dataclass(slots=True)
class Result:
    """All that a run found out."""

    options: Options
    started_at: str
    about: dict[str, Any]
    rounds: list[Round] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    journal: Journal = field(default_factory=Journal)
    books: snapshot.Snapshot = field(default_factory=lambda: snapshot.Snapshot(PARTITIONS))
    took_s: float = 0.0


def table(*, with_disk: bool, with_clock: bool) -> dict[str, Fault]:
    """Every kind of fault that can be had."""
    made = Table()
    process_faults.add_to(made)
    service_faults.add_to(made, disk=with_disk)
    network_faults.add_to(made, clock=with_clock)
    return made.faults


def run(options: Options, folder: Path, steps: Steps) -> Result:
    """Torture a private stack, which is gone afterwards, come what may.

    Where a promise was broken, or the flow came back late, its logs are kept.

    Raises: OperatorError if the stack cannot be made; KeyboardInterrupt.
    """
    begun = time.monotonic()
    result = Result(options, datetime.now(UTC).isoformat(timespec="seconds"), machine.about())
    ground = Ground(folder)
    ground.claim()
    disk = None
    said = _log_to(folder / "logs" / "driver.log")
    try:
        disk = _disk(ground, result)
        clock = preload() if _wanted(options, "clock.") else {}
        with steps.step("private Postgres, RabbitMQ and Redis"):
            ground.up(steps.report)
        result.about["versions"] |= machine.service_versions(ground.services)
        asyncio.run(_Torture(ground, result, steps, disk, clock).run())
        with steps.step("everything decided again and compared"):
            result.violations += check(result.journal, result.books)
    finally:
        if result.violations or any(made.late for made in result.rounds):
            kept = folder.parent / "torture-failed" / f"logs-{options.seed}"
            shutil.copytree(folder / "logs", kept, dirs_exist_ok=True)
        for service in ground.services.recorded().values():
            service.kill()
        if disk is not None:
            disk.unmount()
        logging.getLogger().removeHandler(said)
        said.close()
        ground.purge()
    result.took_s = time.monotonic() - begun
    return result


def _log_to(path: Path) -> logging.FileHandler:
    """Have what the driver's own clients say of lost connections kept beside the others' logs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(JsonLines())
    logging.getLogger().addHandler(handler)
    return handler


def _wanted(options: Options, prefix: str) -> bool:
    return not options.kinds or any(kind.startswith(prefix) for kind in options.kinds)


def _disk(ground: Ground, result: Result) -> disks.Disk | None:
    if not _wanted(result.options, "postgres.disk-full"):
        return None
    ground.services.run.prepare()
    home = ground.services.run.data() / "postgres"
    try:
        return disks.mount(home, ground.folder / "disk.img")
    except disks.NoDisk as reason:
        result.notices.append(f"NOT DONE: postgres.disk-full, because {reason}")
        return None


class _Torture:
    def __init__(
        self,
        ground: Ground,
        result: Result,
        steps: Steps,
        disk: disks.Disk | None,
        clock: Mapping[str, str],
    ) -> None:
        self.ground = ground
        self.result = result
        self.steps = steps
        self.disk = disk
        self.town = Town(ground, clock)
        options = result.options
        known = table(with_disk=disk is not None, with_clock=bool(clock))
        self.faults = {
            kind: fault
            for kind, fault in known.items()
            if not options.kinds or any(kind.startswith(each) for each in options.kinds)
        }
        self.world = World(self.town, result.journal, Pace(options.per_s), options.seed)
        self.scene = Scene(
            self.town,
            ground.services,
            result.journal,
            random.Random(f"scene {options.seed}"),
            disk,
        )
        self.begun = 0.0

    async def run(self) -> None:
        """The whole of it."""
        with self.steps.step("API, workers and a bad network between them"):
            await self.town.open()
        try:
            with self.steps.step("customers, wallets, first money"):
                await self.world.settle_in()
            await asyncio.sleep(_NEWBORN_S)
            await self._break_things()
            with self.steps.step("the rest is decided"):
                await self._drain()
        finally:
            await self.world.close()
            await self.town.close()
        self.result.journal.ended_by_themselves += self.town.surprises
        await asyncio.to_thread(self._take_snapshot)

    async def _break_things(self) -> None:
        stopping = asyncio.Event()
        lanes = self.world.start(stopping)
        chance = random.Random(f"poison {self.result.options.seed}")
        url = self.ground.services.broker_url
        lanes.append(asyncio.create_task(spread(url, self.result.journal, chance, stopping)))
        self.begun = time.monotonic()
        ends_at = self.begun + self.result.options.minutes * 60
        chance = random.Random(f"pauses {self.result.options.seed}")
        try:
            for number, planned in enumerate(rounds(self.faults, self.result.options.seed), 1):
                if time.monotonic() > ends_at:
                    break
                await asyncio.sleep(chance.uniform(*_QUIET_S))
                await self._round(number, planned)
        except Stuck as stuck:
            self.result.violations.append(Violation("stuck", "flow", str(stuck)))
        stopping.set()
        await asyncio.wait_for(asyncio.gather(*lanes), _DRAIN_TIMEOUT_S)

    async def _round(self, number: int, planned: Sequence[Planned]) -> None:
        made = Round(number, patience_s=max(each.fault.patience_s for each in planned))
        self.result.rounds.append(made)
        began = time.monotonic()
        names = " + ".join(each.fault.kind for each in planned)
        with self.steps.step(f"round {number}: {names}"):
            made.faults += await asyncio.gather(*(self._strike(number, each) for each in planned))
            made.back_http_s, made.back_partner_s = await self.world.flow.back(_STUCK_AFTER_S)
            made.back_s = max(made.back_http_s, made.back_partner_s)
        made.gap_s = _longest_gap(self.result.journal, began)
        self.steps.say(_told(self._since(), made))

    async def _strike(self, number: int, planned: Planned) -> Struck:
        await asyncio.sleep(planned.after_s)
        began_s = self._since()
        missed = False
        try:
            detail = await planned.fault.strike(self.scene)
        except Missed as reason:
            missed, detail = True, str(reason)
        return Struck(number, planned.fault.kind, detail, began_s, self._since(), missed)

    def _since(self) -> float:
        return time.monotonic() - self.begun

    async def _drain(self) -> None:
        """Wait until all processes are up, all that was accepted is decided, no queue holds any."""
        try:
            async with asyncio.timeout(_DRAIN_TIMEOUT_S):
                await self.town.whole(_DRAIN_TIMEOUT_S)
                await self.world.settle()
                await self.world.flow.back(_STUCK_AFTER_S)
                while await asyncio.to_thread(self._outstanding):
                    await asyncio.sleep(0.5)
                await self.world.read_feeds()
        except (TimeoutError, Stuck) as error:
            found = str(error) or f"not all was decided within {_DRAIN_TIMEOUT_S:.0f} s"
            self.result.violations.append(Violation("stuck", "the end", found))

    def _outstanding(self) -> int:
        """Instructions that wait in queues, and events that somebody has yet to be told of."""
        with self.ground.operator() as engine, engine.begin() as connection:
            untold = connection.scalar(text(_UNTOLD)) or 0
            # What failed twice is tried again in five minutes. The end of a run is sooner.
            for statement in _SOONER:
                connection.execute(text(statement))
        return int(untold) + sum(self._queues().values())

    def _queues(self) -> dict[str, int]:
        """Messages in each queue of ours, those that a consumer was given included."""
        rabbitmq = self.ground.services.rabbitmq
        listed = rabbitmq.ctl("list_queues", "-p", "tekana", "name", "messages", "-q", "-s")
        return {
            name: int(count)
            for name, _, count in (line.partition("\t") for line in listed.splitlines())
            # Celery's own, for remote control, end with their workers.
            if count.isdecimal() and name.startswith(_OUR_QUEUES)
        }

    def _take_snapshot(self) -> None:
        """Nothing of ours runs any more: what is in a queue now was left over."""
        with self.ground.operator() as engine:
            self.result.books = snapshot.take(engine, PARTITIONS, self._queues())


def _longest_gap(journal: Journal, since: float) -> float:
    """Seconds between two outcomes that were seen one after the other, since a moment."""
    last = time.monotonic()
    longest = 0.0
    for seen in reversed(journal.seen):
        if seen.status not in FINAL:
            continue
        longest = max(longest, last - seen.at)
        last = seen.at
        if seen.at < since:
            break
    return longest


def _told(at_s: float, made: Round) -> str:
    faults = " + ".join(
        f"{each.kind}{f' ({each.detail})' if each.detail else ''}" for each in made.faults
    )
    return (
        f"{at_s:7.1f} s  round {made.number}: {faults}; flow back after {made.back_http_s:.1f} s "
        f"over HTTP, {made.back_partner_s:.1f} s over queues{' LATE' if made.late else ''}"
    )

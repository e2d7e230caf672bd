"""Processes that are killed, frozen for longer than a heartbeat, or asked to end."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from bench.torture.faults import Scene, Table
from bench.torture.town import HEARTBEAT_S, Resident
from producers.connection import HEARTBEAT_S as PUBLISHER_HEARTBEAT_S
from workers.callbacks.app import HEARTBEAT_S as CALLBACKS_HEARTBEAT_S

_MARGIN_S: Final = 2.0

Choose = Callable[[Scene], Awaitable[Resident]]


async def _api(scene: Scene) -> Resident:
    return scene.chance.choice(scene.town.of_role("api"))


async def _ledger(scene: Scene) -> Resident:
    """The worker that gets the most messages: active for its partitions."""
    return (await scene.town.busiest("ledger"))[0]


async def _standby(scene: Scene) -> Resident:
    """The worker that gets the fewest."""
    return (await scene.town.busiest("ledger"))[-1]


async def _only(role: str, scene: Scene) -> Resident:
    return scene.town.of_role(role)[0]


async def _kill(choose: Choose, scene: Scene) -> str:
    resident = await choose(scene)
    await resident.end(resident.process.kill)
    return resident.name


async def _term(choose: Choose, scene: Scene) -> str:
    resident = await choose(scene)
    await resident.end(resident.process.stop)
    return resident.name


async def _freeze(choose: Choose, frozen_s: float, scene: Scene) -> str:
    resident = await choose(scene)
    # Replaced while it is frozen, it may find on waking that it has to end.
    resident.process.pause()
    try:
        await asyncio.sleep(frozen_s)
    finally:
        resident.process.resume()
    return f"{resident.name} for {frozen_s:.0f} s"


def add_to(table: Table) -> None:
    """Put the faults of processes into a table."""
    roles: dict[str, tuple[Choose, float]] = {
        "api": (_api, PUBLISHER_HEARTBEAT_S),
        "ledger": (_ledger, HEARTBEAT_S),
        "standby": (_standby, HEARTBEAT_S),
        "inbox": (partial(_only, "inbox"), HEARTBEAT_S),
        "callbacks": (partial(_only, "callbacks"), CALLBACKS_HEARTBEAT_S),
        "beat": (partial(_only, "beat"), CALLBACKS_HEARTBEAT_S),
    }
    for role, (choose, heartbeat_s) in roles.items():
        # RabbitMQ gives a connection up two to three heartbeats after it last heard of it.
        frozen_s = 3 * heartbeat_s + _MARGIN_S
        part = "ledger" if role == "standby" else role
        weight = 2 if role in ("ledger", "standby") else 1
        table.add(f"{role}.kill", part, weight=2)(partial(_kill, choose))
        table.add(f"{role}.term", part, weight=2)(partial(_term, choose))
        table.add(f"{role}.freeze", part, weight=weight)(partial(_freeze, choose, frozen_s))

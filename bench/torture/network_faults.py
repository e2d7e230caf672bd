"""A network that delays, stalls, resets, and cuts at the worst moment; and clocks that jump."""

import asyncio
from functools import partial
from typing import Final

from bench.torture.faults import Missed, Scene, Table
from bench.torture.proxy import Link
from bench.torture.town import Resident

_HELD_S: Final = (2.0, 5.0)
_CUT_WITHIN_S: Final = 6.0

HOUR_S: Final = 3600


def _some_links(scene: Scene, most: int) -> list[Link]:
    links = sorted(scene.town.links.values(), key=lambda link: link.name)
    return scene.chance.sample(links, scene.chance.randint(1, most))


def _names(links: list[Link]) -> str:
    return ", ".join(link.name for link in links)


async def _delay(scene: Scene) -> str:
    links = _some_links(scene, 4)
    for link in links:
        link.delay_s = scene.chance.uniform(0.02, 0.3)
    return await _held(scene, links)


async def _stall(scene: Scene) -> str:
    links = _some_links(scene, 3)
    for link in links:
        link.stall()
    return await _held(scene, links)


async def _held(scene: Scene, links: list[Link]) -> str:
    """Leave them as they are for a while, then let them go."""
    try:
        await asyncio.sleep(scene.chance.uniform(*_HELD_S))
    finally:
        for link in links:
            link.release()
    return _names(links)


async def _reset(scene: Scene) -> str:
    links = _some_links(scene, 4)
    for link in links:
        link.reset()
    return _names(links)


async def _cut(word: str, role: str, service: str, scene: Scene) -> str:
    """Cut the busiest process of a role when it says the word."""
    residents = await scene.town.busiest(role)
    link = residents[0].links[service]
    if not await link.cut_at(word, _CUT_WITHIN_S):
        raise Missed(f"{link.name}, where nobody said it")
    return link.name


async def _move_clocks(by_s: int, scene: Scene) -> str:
    """Some workers' clocks jump, and jump back: each jump is seen both ways."""
    residents = [each for each in scene.town.residents.values() if each.clock_file is not None]
    chosen = scene.chance.sample(residents, scene.chance.randint(1, len(residents)))
    _set_clocks(chosen, by_s)
    try:
        await asyncio.sleep(scene.chance.uniform(2.5, 5.0))
    finally:
        _set_clocks(chosen, 0)
    return ", ".join(each.name for each in chosen)


def _set_clocks(residents: list[Resident], by_s: int) -> None:
    for each in residents:
        if each.clock_file is not None:
            # Replaced, not written: a process reads it at any moment.
            fresh = each.clock_file.with_suffix(".new")
            fresh.write_text(f"{by_s:+d}\n")
            fresh.replace(each.clock_file)


def add_to(table: Table, *, clock: bool) -> None:
    """Put the faults of network and clocks into a table."""
    table.add("network.delay", "network", weight=2)(_delay)
    table.add("network.stall", "network", weight=3)(_stall)
    table.add("network.reset", "network", weight=4)(_reset)
    for word, role, service, weight in (
        ("commit", "ledger", "postgres", 3),
        ("before-commit", "ledger", "postgres", 2),
        ("ack", "ledger", "rabbitmq", 3),
        ("confirm", "api", "rabbitmq", 3),
    ):
        name = word if word.startswith("before") else f"mid-{word}"
        table.add(f"network.{name}", "network", weight=weight)(partial(_cut, word, role, service))
    if clock:
        table.add("clock.forward", "clock", weight=2)(partial(_move_clocks, HOUR_S))
        table.add("clock.back", "clock", weight=2)(partial(_move_clocks, -HOUR_S))

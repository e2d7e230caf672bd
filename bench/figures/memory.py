"""What a ledger worker's process holds after some instructions, and after four times as many."""

import re
from pathlib import Path
from typing import Final

from bench.bench import Bench
from bench.results import Figure, Target
from bench.transfers import uniform
from bench.waiting import Waiting

MEMORY: Final = "ledger worker memory"
GROWTH: Final = "ledger worker memory, growth"
NAMES: Final = (MEMORY, GROWTH)

_RESIDENT: Final = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def measure(bench: Bench, end_s: float) -> list[Figure]:  # noqa: ARG001  It has no rounds.
    """One worker for all partitions, from its start on, kept under load."""
    early, late = bench.sizes.memory_steps
    waiting = Waiting(bench)
    draw = uniform(bench.sizes.wallets, bench.chance)
    waiting.publish(early, draw, draw)
    worker = bench.ground.worker("0-7")
    with bench.ground.running(bench.ground.flower(), worker):
        with bench.steps.step(f"{MEMORY}: {early:,} instructions"):
            waiting.drained()
        first = _status(worker.pid)
        with bench.steps.step(f"{MEMORY}: {late:,} instructions"):
            waiting.publish_more(late - early, draw, draw)
            waiting.drained()
        last = _status(worker.pid)
    waiting.close()
    resident, peak = _megabytes(_RESIDENT, last), _megabytes(_PEAK, last)
    return [
        Figure(
            MEMORY,
            "MB",
            [resident],
            Target("value", "at most", 150),
            note=f"resident after {late:,} instructions, all 8 partitions; peak {peak:.0f} MB",
        ),
        Figure(
            GROWTH,
            "MB",
            [resident],
            Target("ratio", "at most", 1.05),
            f"after {early:,} instructions",
            [_megabytes(_RESIDENT, first)],
        ),
    ]


def _status(pid: int | None) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def _megabytes(line: re.Pattern[str], status: str) -> float:
    found = line.search(status)
    if found is None:
        raise ValueError("the kernel does not tell how much memory a process has")
    return int(found[1]) * 1024 / 1_000_000

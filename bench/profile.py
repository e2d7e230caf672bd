"""`python -m bench.profile store|drain|intake`: where the time goes, on ground of its own.

py-spy samples the process from outside; Postgres counts its statements. Both slow what they
look at a little, so their shares are worth more than their totals.
"""

import argparse
import contextlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import text

from bench.bench import Bench
from bench.books import open_wallets
from bench.clock import Clock
from bench.figures.store import Store
from bench.ground import Ground
from bench.load import Wrk
from bench.progress import Steps
from bench.sizes import QUICK
from bench.transfers import uniform
from bench.waiting import Waiting
from ops.errors import OperatorError
from ops.stack.folder import CHECKOUT, DEFAULT_RUN_FOLDER

_RATE_PER_S: Final = 200
_LINES: Final = 30
_EVERYWHERE: Final = 0.97
"""What is in nearly every sample is how the process was started."""

_DRAINED: Final = 60_000
_INTAKE_S: Final = 15
_LIMIT_S: Final = 600

STATEMENTS: Final = text("""
    SELECT round(CAST(100 * total_exec_time / sum(total_exec_time) OVER () AS numeric), 1) AS share,
           calls, round(CAST(mean_exec_time AS numeric), 3) AS mean_ms, rows,
           left(regexp_replace(query, '\\s+', ' ', 'g'), 90) AS query
    FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY total_exec_time DESC LIMIT 12
""")


def store(bench: Bench) -> None:
    """The ledger in the bench's own process, waiting included, and Postgres's statements."""
    draw = uniform(bench.sizes.wallets, bench.chance)
    ledger = Store(bench)
    sample = ledger.sample(draw, draw)
    _reset_statements(bench.ground)
    with profiled(os.getpid(), bench.ground.folder / "store.txt", "--idle"):
        print(f"stored {sample():,.0f}/s while being looked at")
    ledger.close()
    _show_statements(bench.ground)


def drain(bench: Bench) -> None:
    """One of two workers, waiting included, and Postgres's statements."""
    waiting = Waiting(bench)
    draw = uniform(bench.sizes.wallets, bench.chance)
    with bench.steps.step("publishing"):
        waiting.publish(_DRAINED, draw, draw)
    _reset_statements(bench.ground)
    workers = bench.ground.workers()
    path = bench.ground.folder / "drain.txt"
    with (
        bench.ground.running(bench.ground.flower(), *workers),
        profiled(workers[0].pid, path, "--idle"),
    ):
        print(f"drained {waiting.drained_per_s():,.0f}/s while being looked at")
    waiting.close()
    _show_statements(bench.ground)


def intake(bench: Bench) -> None:
    """The API while single POSTs come from 32 connections: what holds the interpreter's lock."""
    ground = bench.ground
    wrk = Wrk(ground.folder, ground.api_key, range(0, bench.sizes.wallets, 10))
    api = ground.api()
    with ground.running(api):
        url = f"{api.url}/v1/transfers"
        wrk.run("single", url, 1)
        with profiled(api.pid, ground.folder / "intake.txt", "--subprocesses", "--gil"):
            load = wrk.run("single", url, _INTAKE_S)
            print(f"accepted {load.accepted / load.seconds:,.0f}/s while being looked at")


@contextlib.contextmanager
def profiled(pid: int | None, path: Path, *options: str) -> Iterator[None]:
    """Sample a process within the block, then print where it was.

    Raises: OperatorError if py-spy is not installed.
    """
    program = Path(sys.executable).with_name("py-spy")
    if not program.exists():
        raise OperatorError("py-spy is missing.", "Run ./tekana check once: it installs it.")
    command = [
        *(str(program), "record", "--format", "raw", "--output", str(path)),
        *("--rate", str(_RATE_PER_S), "--duration", "unlimited", "--pid", str(pid), *options),
    ]
    watcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        watcher.send_signal(2)
        watcher.wait(30)
    _show_samples(path.read_text())


def _show_samples(collapsed: str) -> None:
    """The functions that were found most often, by themselves and with all they call."""
    alone: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in collapsed.splitlines():
        stack, _, samples = line.rpartition(" ")
        count = int(samples)
        frames = [_shortened(each) for each in stack.split(";") if not each.startswith("process ")]
        if not frames:
            continue  # A process between two of its threads.
        alone[frames[-1]] += count
        whole.update(dict.fromkeys(frames, count))
    total = alone.total() or 1
    for title, counts in (("with all they call", whole), ("by themselves", alone)):
        print(f"\nFunctions {title}, % of {total:,} samples")
        told = [(name, n) for name, n in counts.most_common() if n < _EVERYWHERE * total]
        for name, count in told[:_LINES]:
            print(f"{100 * count / total:6.1f}  {name}")


def _shortened(frame: str) -> str:
    """`function (file)` without line numbers and without where it is installed."""
    name, _, place = frame.partition(" (")
    file = place.rpartition(":")[0] or place.rstrip(")")
    return f"{name} ({file.removeprefix(f'{CHECKOUT}/').rpartition('site-packages/')[2]})"


def _reset_statements(ground: Ground) -> None:
    ground.command("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    ground.command("SELECT pg_stat_statements_reset()")


def _show_statements(ground: Ground) -> None:
    with ground.operator() as engine, engine.connect() as connection:
        print("\nStatements, % of Postgres's time in statements, calls, mean in ms, rows")
        for row in connection.execute(STATEMENTS):
            print(f"{row.share:6}  {row.calls:7} {row.mean_ms:9} {row.rows:9}  {row.query}")


_SUBJECTS: Final[dict[str, Callable[[Bench], None]]] = {
    "store": store,
    "drain": drain,
    "intake": intake,
}


def main() -> None:
    """Make the ground, look at one thing, and leave nothing behind."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile")
    parser.add_argument("subject", choices=_SUBJECTS)
    subject = _SUBJECTS[parser.parse_args().subject]
    clock = Clock(_LIMIT_S)
    ground = Ground(DEFAULT_RUN_FOLDER / "bench")
    ground.claim()
    with Steps(clock) as steps:
        try:
            ground.up(steps.report)
            with steps.step("wallets"), ground.operator() as engine:
                open_wallets(engine, ground.client_id, QUICK.wallets)
            subject(Bench(ground, QUICK, clock, steps))
        finally:
            ground.purge()


if __name__ == "__main__":
    main()

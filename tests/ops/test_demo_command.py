"""The demo as a whole: in a checkout of its own, and against an application that is up."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from ops.commands.demo import run_demo
from ops.demo import run as demo_run
from ops.demo.replay import Replay, replay
from ops.demo.rows import EXCERPT, read_rows
from ops.stack.folder import CHECKOUT
from ops.stack.stack import Stack
from storage import partners
from storage.engine import operator_engine
from tests.support import wait_until

pytestmark = pytest.mark.timeout(400)

_FOLDERS = (
    *("api", "config", "domain", "examples", "migrations", "ops", "producers", "storage"),
    "workers",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the checkout, with a run folder of its own."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in _FOLDERS:
        shutil.copytree(CHECKOUT / name, folder / name)
    yield folder
    subprocess.run([*_tekana(folder), "down", "--purge"], env=_environment(folder), check=True)


def _tekana(checkout: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "ops"]


def _environment(checkout: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TEKANA_")}
    return {**kept, "PYTHONPATH": str(checkout)}


def _demo(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_tekana(checkout), "demo", *arguments],
        env=_environment(checkout),
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )


def _nothing_runs(checkout: Path) -> bool:
    """Whether no process of the checkout's stack is left."""
    return not any(part.running() for part in Stack(checkout / ".run", environment={}).parts())


def test_the_demo_starts_what_it_needs_agrees_with_the_file_and_leaves_nothing(
    checkout: Path,
) -> None:
    done = _demo(checkout, "--rows", "200", "--json")

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["agrees"] is True
    assert figures["books_sound"] is True
    assert figures["accepted"] == figures["rows"] == 200
    assert figures["succeeded"] + sum(figures["rejected"].values()) == 200
    assert set(figures["rejected"]) == {"insufficient_funds"}
    assert figures["rows_per_s"] > 0
    assert figures["single_latency"]["p99_ms"] >= figures["single_latency"]["p50_ms"] > 0
    # Each wallet was opened by an instruction, and each row is one.
    callbacks = figures["callbacks"]
    assert callbacks["verified"] == figures["wallets"] + 200
    assert callbacks["refused"] == 0
    assert callbacks["latency"]["p99_ms"] >= callbacks["latency"]["p50_ms"] > 0
    # Most origins were funded, by a partner who is told of nothing else.
    deposits = figures["deposits"]
    assert 50 < deposits["told"] <= 200
    assert deposits["per_s"] > 0
    assert deposits["outcome_latency"]["p50_ms"] >= deposits["receipt_latency"]["p50_ms"] > 0
    assert _nothing_runs(checkout)


def test_keep_leaves_the_stack_up_and_a_second_run_works_on_it(checkout: Path) -> None:
    first = _demo(checkout, "--rows", "50", "--keep")
    second = _demo(checkout, "--rows", "50")

    try:
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert "/docs" in first.stdout
        assert "Flower" in first.stdout
        assert not _nothing_runs(checkout)
    finally:
        subprocess.run([*_tekana(checkout), "down"], env=_environment(checkout), check=True)


def test_a_bad_file_is_told_before_anything_is_started(checkout: Path) -> None:
    done = _demo(checkout, "--file", "none.csv")

    assert done.returncode == 1
    assert "none.csv cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert _nothing_runs(checkout)


def test_ctrl_c_leaves_nothing_behind(checkout: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with told.open("w") as output:
        running = subprocess.Popen(
            [*_tekana(checkout), "demo"],
            env=_environment(checkout),
            cwd=checkout,
            stdout=output,
            stderr=output,
        )
    wait_until(lambda: "Opening customers" in told.read_text(), timeout_s=120)

    running.send_signal(signal.SIGINT)

    assert running.wait(timeout=120) == 130
    assert "Traceback" not in told.read_text()
    assert _nothing_runs(checkout)


def test_a_ledger_that_ends_elsewhere_than_the_file_is_told(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = read_rows(EXCERPT, 20)

    def one_cent_more_and_one_row_less(followed: list[object]) -> Replay:
        expected = replay(rows)
        expected.balances[rows[0].origin] += 1
        expected.outcomes[rows[1].number] = "insufficient_funds"
        return expected

    monkeypatch.setattr(demo_run, "replay", one_cent_more_and_one_row_less)

    figures = run_demo(stack, rows, "excerpt")

    assert not figures.agrees
    assert figures.books_sound
    assert [line.partition(":")[0].split(" ")[0] for line in figures.disagreements] == [
        "row",
        "wallet",
    ]
    assert f"of {rows[0].origin}" in figures.disagreements[1]


def test_a_run_leaves_no_partner_behind(stack: Stack) -> None:
    engine = operator_engine(Settings.from_env(stack.variables()))
    before = partners.active(engine)

    run_demo(stack, read_rows(EXCERPT, 5), "excerpt")

    assert partners.active(engine) == before
    engine.dispose()


def test_outcomes_that_nobody_calls_back_are_told(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.demo.callbacks._PATIENCE_S", 2.0)
    monkeypatch.setattr("ops.demo.deposits._PATIENCE_S", 2.0)
    rows = read_rows(EXCERPT, 5)
    [worker] = [process for process in stack.application() if process.name == "callbacks"]
    worker.stop()

    try:
        figures = run_demo(stack, rows, "excerpt")
    finally:
        worker.start()

    assert figures.books_sound
    assert figures.callbacks is not None
    assert figures.callbacks.verified == 0
    assert figures.deposits is not None
    assert figures.deposits.told == 0
    untold = ("no outcome at the partner", "and by callback nothing")
    counts = [sum(each in line for line in figures.disagreements) for each in untold]
    assert counts[0] > 0
    assert counts[1] > len(rows)
    assert sum(counts) == len(figures.disagreements)


def test_the_tour_of_the_readme_works_and_a_second_time_moves_nothing(stack: Stack) -> None:
    readme = (CHECKOUT / "README.md").read_text()
    (tour,) = re.findall(r"```bash\n(.*?)```", readme, re.DOTALL)
    environment = {**os.environ, **stack.variables(), **stack.client_variables()}
    lines = [line for line in tour.splitlines() if not line.startswith(("./tekana", "eval"))]

    def take() -> list[dict[str, Any]]:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    first, second = take(), take()

    assert [each.get("status") for each in first[:7]] == ["succeeded"] * 6 + ["rejected"]
    assert first[6]["rejection"]["code"] == "insufficient_funds"
    assert first[7]["balance"] == 75000
    assert [entry["reference"] for entry in first[8]["data"]] == ["rent"]
    assert second == first

"""What Flower shows: instructions as tasks, at a bounded cost, and nothing private."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domain.instructions import encode
from ops.stack.ports import free_port
from tests.bookkeeping import transfer
from tests.browser import show
from tests.support import wait_until
from tests.workers.house import ROOT, House, environment
from workers.flower import TokenBucket


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_allows_its_rate_and_no_more() -> None:
    clock = Clock()
    bucket = TokenBucket(50, clock)

    assert bucket.take(30) == 30
    assert bucket.take(500) == 20
    assert bucket.take(1) == 0
    clock.now += 0.5
    assert bucket.take(500) == 25
    clock.now += 60
    assert bucket.take(500) == 50


def test_a_bucket_of_zero_allows_nothing() -> None:
    clock = Clock()
    bucket = TokenBucket(0, clock)
    clock.now += 60

    assert bucket.take(5) == 0


class Page:
    """Flower's API as a browser would ask it."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"

    def ask(self, path: str, password: str | None = "pass-for-tests", method: str = "GET") -> Any:
        request = urllib.request.Request(self.base + path, method=method)
        if password is not None:
            given = b64encode(f"operator:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {given}")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read())

    def status(
        self, path: str, password: str | None = "pass-for-tests", method: str = "GET"
    ) -> int:
        try:
            self.ask(path, password, method)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def answers(self) -> bool:
        try:
            return self.status("/api/workers", None) == 401
        except OSError:
            return False


@pytest.fixture
def page(house: House) -> Iterator[Page]:
    port = free_port()
    variables = environment(house.settings) | {
        "TEKANA_FLOWER_PASSWORD": "pass-for-tests",
        "TEKANA_FLOWER_PORT": str(port),
    }
    log = (house.folder / "flower.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "flower"], cwd=ROOT, env=variables, stdout=log, stderr=log
    )
    log.close()
    try:
        shown = Page(port)
        wait_until(shown.answers, 30, what="Flower")
        assert b"pass-for-tests" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        yield shown
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_flower_shows_each_outcome_and_changes_nothing(house: House, page: Page) -> None:
    worker = house.worker().ready()
    wait_until(lambda: page.ask("/api/workers?refresh=1"), 20, 0.5, what="the worker in Flower")
    paid = transfer("paid", house.names[0], house.names[1], 1, reference="for rent")
    short = transfer("short", house.names[0], house.names[1], 10**9)
    stray = transfer("stray", house.names[3], house.names[1], 1)

    house.publish([paid, short])
    house.publish_bodies([(0, encode(stray)), (0, b"not an instruction")])

    wait_until(lambda: len(page.ask("/api/tasks")) == 4, 15, what="four tasks in Flower")
    tasks = page.ask("/api/tasks")
    assert (tasks[paid.id]["name"], tasks[paid.id]["state"]) == ("transfer", "SUCCESS")
    assert tasks[paid.id]["result"] == "succeeded"
    assert tasks[short.id]["state"] == "SUCCESS"
    assert tasks[short.id]["result"] == "rejected insufficient_funds"
    assert tasks[stray.id]["state"] == "FAILURE"
    assert tasks[stray.id]["exception"] == "wrong partition"
    (unreadable,) = (task for task in tasks.values() if task["name"] == "unreadable")
    assert unreadable["exception"].startswith("undecodable: ")
    assert "for rent" not in json.dumps(tasks)
    assert page.status("/api/tasks", "wrong") == 401
    assert page.status("/api/tasks", None) == 401
    node = next(iter(page.ask("/api/workers")))
    assert page.status(f"/api/worker/shutdown/{node}", method="POST") == 403
    assert worker.process.poll() is None


def test_a_browser_shows_the_workers_and_what_became_of_each_instruction(
    house: House, page: Page, tmp_path: Path
) -> None:
    house.worker().ready()
    wait_until(lambda: page.ask("/api/workers?refresh=1"), 20, 0.5, what="the worker in Flower")
    paid = transfer("paid", house.names[0], house.names[1], 1)
    short = transfer("short", house.names[0], house.names[1], 10**9)
    stray = transfer("stray", house.names[3], house.names[1], 1)
    house.publish([paid, short])
    house.publish_bodies([(0, encode(stray))])
    wait_until(lambda: len(page.ask("/api/tasks")) == 3, 15, what="three tasks in Flower")
    address = page.base.replace("//", "//operator:pass-for-tests@")

    workers = show(f"{address}/workers", tmp_path)
    tasks = show(f"{address}/tasks", tmp_path)
    one = show(f"{address}/task/{short.id}", tmp_path)

    (node,) = page.ask("/api/workers")
    assert node in workers.document
    assert "Online" in workers.document
    for instruction in (paid, short, stray):
        assert instruction.id in tasks.document
    assert "succeeded" in tasks.document
    assert "rejected insufficient_funds" in tasks.document
    assert "FAILURE" in tasks.document
    assert "rejected insufficient_funds" in one.document
    for shown in (workers, tasks, one):
        assert "Uncaught" not in shown.log


def test_flower_does_not_start_without_a_password(house: House) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops", "flower"],
        cwd=ROOT,
        env=environment(house.settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "TEKANA_FLOWER_PASSWORD" in done.stderr

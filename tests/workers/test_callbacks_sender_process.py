"""The sender in a process of its own: as good as one in this process, and alone with receivers."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.stack.services import Services
from tests.support import wait_until
from tests.workers.callback_house import CallbackHouse
from tests.workers.house import ROOT
from tests.workers.letters import SECRET, letters
from tests.workers.receiver import Answer, Received, receiving
from workers.callbacks.letters import SenderGone
from workers.callbacks.sender_process import SenderProcess


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> Iterator[SenderProcess]:
    monkeypatch.setenv("TEKANA_DATABASE_URL", "postgresql://secret")
    made = SenderProcess(allow_loopback=True)
    yield made
    made.close()


@pytest.fixture
def house(services: Services, tmp_path: Path) -> Iterator[CallbackHouse]:
    made = CallbackHouse(services, tmp_path)
    yield made
    made.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    of_threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for found in of_threads for child in found.read_text().split()]


def test_letters_arrive_and_answers_come_back_in_order(sender: SenderProcess) -> None:
    def behave(received: Received, _: int) -> Answer:
        return Answer(200 + received.event["n"] % 7)

    with receiving(behave) as receiver:
        attempts = sender.start("endpoint", receiver.url, letters(100), [SECRET], 60).result()

    assert [attempt and attempt.status for attempt in attempts] == [
        200 + number % 7 for number in range(100)
    ]
    assert all("webhook-signature" in received.headers for received in receiver.received)


def test_many_threads_share_it(sender: SenderProcess) -> None:
    found: list[Any] = []
    with receiving() as receiver:

        def send() -> None:
            found.extend(sender.start("endpoint", receiver.url, letters(40), [SECRET], 60).result())

        threads = [threading.Thread(target=send) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(found) == len(receiver.received) == 200
    assert all(attempt.accepted for attempt in found)


def test_it_knows_none_of_the_settings(sender: SenderProcess) -> None:
    with receiving() as receiver:
        sender.start("endpoint", receiver.url, letters(), [SECRET], 60).result()

    for about in ("environ", "cmdline"):
        assert b"secret" not in Path(f"/proc/{sender.pid}/{about}").read_bytes()


def test_stop_leaves_the_rest_unsent(sender: SenderProcess) -> None:
    def stopped_after_ten(_: Received, seen: int) -> Answer:
        if seen == 10:
            sender.stop()
        return Answer(204)

    with receiving(stopped_after_ten) as receiver:
        attempts = sender.start("endpoint", receiver.url, letters(2000), [SECRET], 60).result()

    assert None in attempts
    assert len(receiver.received) == sum(attempt is not None for attempt in attempts)


def test_signals_of_the_terminal_do_not_end_it(sender: SenderProcess) -> None:
    with receiving() as receiver:
        assert sender.start("endpoint", receiver.url, letters(), [SECRET], 60).result()
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(sender.pid, number)
        attempts = sender.start("endpoint", receiver.url, letters(20), [SECRET], 60).result()

    assert all(attempt and attempt.accepted for attempt in attempts)


def test_when_it_is_killed_its_callers_are_told_and_another_goes_on(sender: SenderProcess) -> None:
    with receiving(lambda *_: Answer(hang=True)) as hanging:
        sent = sender.start("endpoint", hanging.url, letters(8), [SECRET], 60)
        wait_until(lambda: hanging.in_flight == 8, 20)
        killed = sender.pid
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(SenderGone):
            sent.result(20)
        hanging.close()
    with receiving() as receiver:
        [attempt] = sender.start("endpoint", receiver.url, letters(), [SECRET], 60).result(20)

    assert attempt is not None
    assert attempt.accepted
    assert sender.pid != killed


def test_it_ends_with_whoever_made_it(tmp_path: Path) -> None:
    made = tmp_path / "pid"
    script = (
        "import pathlib, time; from workers.callbacks.sender_process import SenderProcess;"
        f"pathlib.Path({str(made)!r}).write_text(str(SenderProcess().pid)); time.sleep(60)"
    )
    maker = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    wait_until(lambda: made.exists() and made.read_text() != "", 20)
    pid = int(made.read_text())
    assert alive(pid)
    maker.kill()
    maker.wait()
    wait_until(lambda: not alive(pid), 20, what="the sender to end")


def test_deliveries_go_on_when_the_sender_of_a_worker_is_killed(house: CallbackHouse) -> None:
    killed: list[int] = []

    def behave(_: Received, seen: int) -> Answer:
        if seen == 100:
            [child] = children(worker.process.pid)
            killed.append(child)
            os.kill(child, signal.SIGKILL)
        return Answer(204)

    with receiving(behave) as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        worker = house.callbacks().ready()
        house.beat().ready()
        house.decide(house.transfers(300))
        wait_until(
            lambda: house.statuses(endpoint) == {"delivered": 300}, 60, what="all to be delivered"
        )

    assert killed
    assert {received.id for received in receiver.accepted} == {
        row.id for row in house.deliveries(endpoint)
    }
    assert worker.logged("the sender has ended; another one is started")

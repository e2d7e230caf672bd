import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.stack.processes import ManagedProcess, is_alive, own_identity
from tests.support import wait_until

_ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ManagedProcess]:
    process = ManagedProcess("sleeper", tmp_path)
    yield process
    process.kill()


def run(process: ManagedProcess, *command: str) -> int:
    process.start(command, environment=_ENVIRONMENT, folder=Path("/"))
    pid = process.pid()
    assert pid is not None
    return pid


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_started_process_is_found_again_by_its_record(process: ManagedProcess) -> None:
    pid = run(process, "sleep", "60")

    same = ManagedProcess("sleeper", process.record_path.parents[1])

    assert same.pid() == pid
    same.stop()
    assert not alive(pid)
    assert not process.running()


def test_a_stranger_with_the_recorded_pid_is_neither_ours_nor_ended(
    process: ManagedProcess,
) -> None:
    run(process, "sleep", "60")
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        written = json.loads(process.record_path.read_text())
        own_pid = written["pid"]
        # As after a crash: the pid was given to a program that was started later.
        earlier = written["started_ticks"] - 100
        process.record_path.write_text(
            json.dumps({**written, "pid": stranger.pid, "started_ticks": earlier})
        )

        assert not process.running()
        process.stop()
        process.kill()

        assert stranger.poll() is None
        stranger.kill()
    os.kill(own_pid, signal.SIGKILL)


def test_a_record_from_before_a_reboot_is_not_believed(process: ManagedProcess) -> None:
    pid = run(process, "sleep", "60")
    written = json.loads(process.record_path.read_text())
    process.record_path.write_text(json.dumps({**written, "boot_id": "another"}))

    assert not process.running()
    process.kill()

    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_damaged_record_counts_as_none(process: ManagedProcess) -> None:
    process.record_path.parent.mkdir()
    process.record_path.write_text('{"pid": 1')

    assert process.record() is None
    assert not process.running()


def test_what_ignores_the_request_to_end_is_ended_by_force(process: ManagedProcess) -> None:
    pid = run(process, "sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done")
    wait_until(lambda: "deaf" in process.log_tail())

    process.stop(timeout_s=0.2)

    assert not alive(pid)


def test_a_paused_process_can_be_stopped(process: ManagedProcess) -> None:
    pid = run(process, "sleep", "60")
    process.send(signal.SIGSTOP)

    process.stop(timeout_s=10)

    assert not alive(pid)


def test_children_that_changed_their_session_end_with_their_parent(
    process: ManagedProcess,
) -> None:
    run(process, "sh", "-c", "setsid sleep 60 & echo $!; wait")
    child = int(wait_until(process.log_tail))

    process.kill()

    assert not alive(child)


def test_children_of_a_parent_that_crashed_are_ended(process: ManagedProcess) -> None:
    parent = run(process, "sh", "-c", "sleep 60 & echo $!; wait")
    child = int(wait_until(process.log_tail))
    os.kill(parent, signal.SIGKILL)
    wait_until(lambda: not process.running())
    assert alive(child)

    process.kill()

    assert not alive(child)


def test_the_log_is_kept_over_starts_and_its_end_can_be_shown(process: ManagedProcess) -> None:
    run(process, "sh", "-c", "echo first; exec sleep 60")
    wait_until(process.log_tail)
    process.kill()
    run(process, "sh", "-c", "echo second; exec sleep 60")
    wait_until(lambda: "second" in process.log_tail())

    assert process.log_tail() == "first\nsecond"
    assert process.log_tail(1) == "second"
    assert process.log_path.stat().st_mode & 0o077 == 0


def test_a_process_can_tell_whether_another_is_gone() -> None:
    assert is_alive(own_identity())
    program = "import json; from ops.stack.processes import own_identity as me;"
    told = subprocess.run(
        [sys.executable, "-c", f"{program} print(json.dumps(me()))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert not is_alive(json.loads(told))

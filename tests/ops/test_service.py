"""What holds for every service, tried on the quickest of them."""

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest
import redis as redis_client

from ops.errors import OperatorError
from ops.stack.discover import Programs, Search, discover
from ops.stack.folder import RunFolder
from ops.stack.ports import HOST
from ops.stack.rabbitmq import RabbitMQ
from ops.stack.redis import Redis
from ops.stack.sweep import claim, sweep
from ops.stack.together import silent, start_all
from tests.ops.test_discover import program
from tests.support import wait_until


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    yield folder
    folder.purge()


@pytest.fixture
def redis(run: RunFolder) -> Iterator[Redis]:
    """A Redis of its own: the quickest service, for what holds for all of them."""
    service = Redis(run, discover(Search())["redis"].programs)
    yield service
    service.kill()


def for_all(path: Path, body: str) -> Path:
    """A program that a service's own account can reach, through all pytest made for us alone."""
    everybodys = Path(tempfile.gettempdir())
    for folder in takewhile(everybodys.__ne__, path.parents):
        folder.chmod(0o755)
    return program(path, body)


def test_a_port_that_was_taken_meanwhile_is_replaced(redis: Redis) -> None:
    redis.start()
    before = redis.port("redis")
    redis.stop()
    with socket.create_server((HOST, before)):
        redis.settle_ports()
        redis.start()

    assert redis.port("redis") != before
    assert redis_client.Redis.from_url(redis.url).ping()


def test_a_port_taken_at_the_last_moment_is_one_clear_line(redis: Redis) -> None:
    redis.settle_ports()
    with (
        socket.create_server((HOST, redis.port("redis"))),
        pytest.raises(OperatorError, match=f"port {redis.port('redis')} on {HOST} is taken") as it,
    ):
        redis.start()

    assert "Run the command again" in it.value.remedy
    assert not redis.running()


def test_whoever_loses_a_port_at_the_last_moment_is_given_another(redis: Redis) -> None:
    taken: list[socket.socket] = []

    def take(_name: str, state: str) -> None:
        if state == "starting":
            taken.append(socket.create_server((HOST, redis.port("redis"))))

    try:
        start_all([redis], take)

        assert [one.getsockname()[1] for one in taken] != [redis.port("redis")]
        assert redis_client.Redis.from_url(redis.url).ping()
    finally:
        taken[0].close()


def test_a_port_that_is_lost_again_and_again_is_told_in_the_end(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        run_out = taken.getsockname()[1]
        monkeypatch.setattr("ops.stack.service.free_port", lambda avoid: run_out)

        with pytest.raises(OperatorError, match=f"port {run_out} on {HOST} is taken"):
            start_all([redis], silent)


def test_a_broker_that_fails_does_not_take_its_own_epmd_for_a_stranger(
    run: RunFolder, tmp_path: Path
) -> None:
    programs = discover(Search())["rabbitmq"].programs
    assert programs is not None
    broken = for_all(tmp_path / "rabbitmq-server", 'echo "no bunnies today"; exit 3')
    paths = {**programs.paths, "rabbitmq-server": broken}
    rabbitmq = RabbitMQ(run, Programs(programs.version, paths))

    with pytest.raises(OperatorError) as failure:
        rabbitmq.start()

    assert "no bunnies today" in str(failure.value)
    assert "is taken" not in str(failure.value)


def test_a_service_that_fails_to_start_shows_the_last_lines_of_its_log(
    run: RunFolder, tmp_path: Path
) -> None:
    broken = for_all(tmp_path / "redis-server", 'echo "FATAL: moon is in the wrong phase"; exit 3')
    redis = Redis(run, Programs((7,), {"redis-server": broken}))

    with pytest.raises(OperatorError, match="ended while it was starting") as failure:
        redis.start()

    assert "moon is in the wrong phase" in failure.value.detail
    assert str(redis.log_path) in failure.value.remedy
    assert list((run.path / "processes").iterdir()) == []


def test_a_copied_run_folder_is_refused(run: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", run.path, copy], check=True)

    with pytest.raises(OperatorError, match="is a copy of another checkout's"):
        RunFolder(copy).prepare()


def test_the_line_that_removes_a_copy_removes_nothing_else(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "my app" / "run")
    first.prepare()
    copy = tmp_path / "my copy"
    subprocess.run(["cp", "-a", first.path, copy], check=True)

    with pytest.raises(OperatorError) as refused:
        RunFolder(copy).prepare()

    assert refused.value.remedy == f"Run: rm -rf '{copy}'"


def test_a_disk_with_another_number_after_a_restart_is_no_copy(run: RunFolder) -> None:
    run.remember("folder", identity="0:0", boot="an earlier one")

    run.prepare()

    run.remember("folder", identity="0:0")
    with pytest.raises(OperatorError, match="is a copy"):
        run.prepare()


def test_data_that_lie_outside_are_not_shared_by_a_copy_even_after_a_restart(
    run: RunFolder, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "belongs-to").write_text(f"{run.path}\n")
    (run.path / "data").symlink_to(outside)
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", run.path, copy], check=True)
    RunFolder(copy).remember("folder", boot="an earlier one")

    with pytest.raises(OperatorError, match="is a copy"):
        RunFolder(copy).prepare()


def test_services_pass_through_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = RunFolder(tmp_path / "run")
        folder.prepare()
        data = folder.data()
    finally:
        os.umask(before)

    assert [place.stat().st_mode & 0o777 for place in (folder.path, data)] == [0o711, 0o711]
    folder.purge()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_left_as_it_is(run: RunFolder) -> None:
    os.chown(run.path, 65_534, -1)
    try:
        with pytest.raises(OperatorError, match="belongs to nobody"):
            run.prepare()
        with pytest.raises(OperatorError, match="belongs to nobody"), run.locked():
            pass
        assert run.path.stat().st_uid == 65_534
    finally:
        os.chown(run.path, 0, -1)


def test_who_waited_while_the_folder_was_removed_has_a_lock_that_counts(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    first.prepare()
    entered = threading.Event()

    def wait() -> None:
        with second.locked():
            entered.set()

    waiter = threading.Thread(target=wait)
    with first.locked():
        waiter.start()
        wait_until(lambda: _waits_for_a_lock(tmp_path / "run" / "lock"))
        first.purge()
    waiter.join(10)

    assert entered.is_set()
    assert (tmp_path / "run" / "lock").exists()
    second.purge()


def _waits_for_a_lock(path: Path) -> bool:
    """Whether anybody waits for a lock on a file that has it: the lines with an arrow."""
    node = str(path.stat().st_ino)
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f":{node} " in line for line in lines)


def test_a_full_disk_is_told_before_anything_is_started(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = (10**12, 10**12 - 10**6, 10**6)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("U", (), {"free": usage[2]}))

    with pytest.raises(OperatorError, match="Only 0 MB are free"):
        run.prepare()


def test_what_a_killed_test_run_left_is_stopped_and_removed(tmp_path: Path) -> None:
    left = tmp_path / "test-1"
    claim(left)
    redis = Redis(RunFolder(left), discover(Search())["redis"].programs)
    redis.start()
    pid = redis.pid

    sweep(tmp_path)
    assert redis.pid == pid  # Its owner, this process, is alive.

    owner = left / "owner.json"
    owner.write_text(owner.read_text().replace(str(os.getpid()), "1"))
    sweep(tmp_path)

    assert not left.exists()
    assert not redis.running()


def test_a_purge_spares_the_folder_of_a_test_run_that_is_alive(run: RunFolder) -> None:
    claim(run.path / "test-1")
    run.remember("anything", x=1)

    run.purge()

    assert [entry.name for entry in run.path.iterdir()] == ["test-1"]

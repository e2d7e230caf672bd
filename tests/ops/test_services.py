import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import redis as redis_client

from ops.errors import OperatorError
from ops.stack.folder import CHECKOUT, RunFolder
from ops.stack.ports import HOST, is_free
from ops.stack.services import Services
from tests.support import wait_until


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    yield folder
    folder.purge()


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """All three once more, below a folder with a blank that other accounts cannot enter."""
    closed = tmp_path_factory.mktemp("closed and") / "with blanks"
    closed.mkdir()
    closed.chmod(0o700)
    services = Services(closed / "run")
    try:
        yield services.up()
    finally:
        services.purge()


def pids(services: Services) -> list[int | None]:
    return [one.pid for one in (services.postgres, services.rabbitmq, services.redis)]


def sql(services: Services, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(services.database_url, connect_timeout=5)
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def running_below(folder: Path) -> list[str]:
    """Command lines of processes that work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and (entry / "cwd").readlink().is_relative_to(folder):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_two_stacks_run_side_by_side(services: Services, second: Services) -> None:
    assert services.database_url != second.database_url
    assert not set(pids(services)) & set(pids(second))
    for each in (services, second):
        assert sql(each, "SELECT current_database()") == [("tekana",)]
        assert "tekana" in each.rabbitmq.ctl("list_vhosts")
        assert redis_client.Redis.from_url(each.redis_url).ping()


def test_up_twice_is_one_stack(second: Services) -> None:
    before = pids(second)

    again = Services(second.run.path).up()

    assert pids(again) == before
    assert again.urls() == second.urls()


def test_up_knows_its_own_addresses_in_the_environment(second: Services) -> None:
    """As after `eval "$(./tekana env)"` in the shell."""
    before = pids(second)

    again = Services(second.run.path, environment=second.urls()).up()

    assert pids(again) == before


def test_up_does_not_leave_a_running_service_behind_for_another(second: Services) -> None:
    other = {"TEKANA_REDIS_URL": "redis://elsewhere:1/0"}

    with pytest.raises(OperatorError, match="runs already") as refusal:
        Services(second.run.path, environment=other).up()

    assert "./tekana down" in refusal.value.remedy


def test_a_service_named_by_a_url_is_used_and_left_alone(
    services: Services, run: RunFolder
) -> None:
    given = services.urls()

    elsewhere = Services(run.path, environment=given).up()
    elsewhere.down()
    elsewhere.purge()

    assert elsewhere.urls() == given
    assert None not in pids(services)


def test_a_url_that_nothing_answers_at_is_one_clear_line(
    services: Services, run: RunFolder
) -> None:
    given = {**services.urls(), "TEKANA_REDIS_URL": f"redis://{HOST}:1/0"}

    with pytest.raises(OperatorError, match=r"Redis does not answer .* in TEKANA_REDIS_URL"):
        Services(run.path, environment=given).up()


def test_after_a_crash_of_everything_up_brings_back_data_and_addresses(second: Services) -> None:
    sql(second, "CREATE TABLE kept AS SELECT 42 AS answer")
    second.rabbitmq.ctl("add_user", "kept", "secret")
    before, urls = pids(second), second.urls()
    for pid in before:
        assert pid
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(pids(second)))

    Services(second.run.path).up()

    assert second.urls() == urls
    assert not set(pids(second)) & set(before)
    assert sql(second, "SELECT answer FROM kept") == [(42,)]
    assert "kept" in second.rabbitmq.ctl("list_users")


def test_postgres_keeps_what_was_answered_and_cannot_be_read_by_others(second: Services) -> None:
    settings = "fsync", "synchronous_commit", "data_checksums"
    assert [sql(second, f"SHOW {name}") for name in settings] == [[("on",)]] * 3
    assert "pg_stat_statements" in str(sql(second, "SHOW shared_preload_libraries"))
    assert second.postgres.folder.stat().st_mode & 0o077 == 0
    assert (second.run.path / "state.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(second.database_url.replace("development-only", "guessed"))


def test_rabbitmq_has_no_guest_and_listens_on_the_loopback_alone(second: Services) -> None:
    assert "guest" not in second.rabbitmq.ctl("list_users")
    for name in second.rabbitmq.port_names:
        port = second.rabbitmq.port(name)
        assert not is_free(port)
        # 127.0.0.2 is another address of the same machine: free unless all are listened on.
        with socket.socket() as probe:
            probe.bind(("127.0.0.2", port))


def test_a_paused_postgres_answers_again_when_it_is_resumed(second: Services) -> None:
    second.postgres.pause()
    try:
        with pytest.raises(psycopg2.OperationalError, match="timeout"):
            psycopg2.connect(second.database_url, connect_timeout=2)
    finally:
        second.postgres.resume()

    assert sql(second, "SELECT 1") == [(1,)]


def test_postgres_recovers_from_an_immediate_stop(second: Services) -> None:
    sql(second, "CREATE TABLE survived ()")
    url = second.database_url

    second.postgres.stop(mode="immediate")
    second.postgres.start()

    assert second.database_url == url
    assert sql(second, "SELECT count(*) FROM survived") == [(0,)]


def test_a_server_somebody_else_started_on_the_data_is_refused(second: Services) -> None:
    record = second.postgres._process.record_path
    kept = record.read_text()
    record.unlink()
    try:
        with pytest.raises(OperatorError, match="did not record it"):
            second.postgres.start()
    finally:
        record.write_text(kept)
    assert sql(second, "SELECT 1") == [(1,)]


def test_a_lock_file_with_the_pid_of_a_stranger_does_not_keep_postgres_down(
    second: Services,
) -> None:
    second.postgres.kill()
    lock = second.postgres.folder / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))

    second.postgres.start()

    assert sql(second, "SELECT 1") == [(1,)]


def test_data_of_another_postgres_version_are_refused(second: Services) -> None:
    second.postgres.stop()
    version = second.postgres.folder / "PG_VERSION"
    kept = version.read_text()
    version.write_text("12\n")
    try:
        with pytest.raises(OperatorError, match="were made by PostgreSQL 12"):
            second.postgres.start()
        assert not second.postgres.running()
    finally:
        version.write_text(kept)
    second.postgres.start()


def test_interrupting_up_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    program_text = """if True:
        import signal, sys
        from pathlib import Path
        from ops.stack.services import Services
        # Where the tests run in the background, Ctrl-C is ignored, and so it would be here.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        Services(Path(sys.argv[1])).up()"""
    with subprocess.Popen(
        [sys.executable, "-c", program_text, folder],
        cwd=CHECKOUT,
        stderr=subprocess.DEVNULL,
    ) as starting:
        wait_until((folder / "processes" / "rabbitmq.json").exists)
        starting.send_signal(signal.SIGINT)
    data = RunFolder(folder).data()
    try:
        assert starting.returncode != 0
        assert running_below(data) == []
        assert list((folder / "processes").iterdir()) == []
    finally:
        Services(folder).purge()
    assert not data.exists()

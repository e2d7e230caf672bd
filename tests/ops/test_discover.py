import io
from pathlib import Path

import pytest

from ops.errors import OperatorError
from ops.stack.discover import Kind, Search, compose_problem, discover
from ops.stack.install import advice, install_missing, services_held_back


def program(path: Path, body: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def postgres(folder: Path, version: str) -> None:
    program(folder / "postgres", f'echo "postgres (PostgreSQL) {version}"')
    program(folder / "initdb")


def search(tmp_path: Path, **environment: str) -> Search:
    """A machine with nothing on it but what a test puts below tmp_path."""
    return Search(
        environment=environment,
        path=f"{tmp_path / 'bin'}",
        postgres_root=tmp_path / "postgresql",
        rabbitmq_root=tmp_path / "rabbitmq",
    )


def test_a_url_in_the_environment_comes_first(tmp_path: Path) -> None:
    postgres(tmp_path / "bin", "16.2")
    url = "postgresql://somebody:secret@elsewhere/books"

    route = discover(search(tmp_path, TEKANA_DATABASE_URL=url))["postgres"]

    assert (route.kind, route.url) == (Kind.ENVIRONMENT, url)
    assert "secret" not in route.reason


def test_the_newest_of_the_packaged_versions_is_taken(tmp_path: Path) -> None:
    for version in ("9", "15", "17"):
        postgres(tmp_path / "postgresql" / version / "bin", f"{version}.1")

    route = discover(search(tmp_path))["postgres"]

    assert route.kind is Kind.BINARIES
    assert route.programs
    assert route.programs.version == (17, 1)


def test_a_postgres_that_is_too_old_is_passed_over_and_named(tmp_path: Path) -> None:
    postgres(tmp_path / "bin", "13.4")
    postgres(tmp_path / "postgresql" / "15" / "bin", "15.9")

    route = discover(search(tmp_path))["postgres"]

    assert route.kind is Kind.BINARIES
    assert "PostgreSQL 13.4" in route.passed_over[0]


def test_a_postgres_that_is_too_old_alone_is_as_good_as_none(tmp_path: Path) -> None:
    postgres(tmp_path / "bin", "14.11")

    route = discover(search(tmp_path))["postgres"]

    assert route.kind is Kind.MISSING
    assert "14.11" in route.reason
    assert "too old: 15 or newer is needed" in route.reason


def test_debians_wrapper_for_rabbitmq_is_never_taken(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "rabbitmq-server")
    program(tmp_path / "bin" / "erl")
    program(tmp_path / "bin" / "epmd")
    assert discover(search(tmp_path))["rabbitmq"].kind is Kind.MISSING

    scripts = tmp_path / "lib" / "rabbitmq_server-3.12.1" / "sbin"
    real = program(scripts / "rabbitmq-server")
    program(scripts / "rabbitmq-env")
    (tmp_path / "rabbitmq" / "bin").mkdir(parents=True)
    (tmp_path / "rabbitmq" / "bin" / "rabbitmq-server").symlink_to(real)

    route = discover(search(tmp_path))["rabbitmq"]
    assert route.programs
    assert route.programs.version == (3, 12, 1)
    assert route.programs.paths["rabbitmq-server"] == real


def test_valkey_stands_in_for_redis(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "valkey-server", 'echo "Valkey server v=8.1.0 sha=0"')

    route = discover(search(tmp_path))["redis"]

    assert route.programs
    assert route.programs.version == (8, 1, 0)


def test_compose_is_taken_only_where_an_engine_answers(tmp_path: Path) -> None:
    assert "not installed" in compose_problem(search(tmp_path))
    program(tmp_path / "bin" / "docker", "exit 1")
    assert "no engine answers" in compose_problem(search(tmp_path))
    assert discover(search(tmp_path))["redis"].kind is Kind.MISSING

    program(tmp_path / "bin" / "docker")

    assert {route.kind for route in discover(search(tmp_path)).values()} == {Kind.COMPOSE}


def test_without_rights_the_exact_line_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "apt-get", "exit 1")
    program(tmp_path / "bin" / "redis-server", 'echo "Redis server v=7.0.15"')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    routes = discover(search(tmp_path))

    with pytest.raises(OperatorError) as refusal:
        install_missing(routes, allowed=True)

    assert refusal.value.exit_code == 1
    assert refusal.value.remedy == advice(routes)
    assert refusal.value.remedy == (
        "Run: sudo sh -c 'apt-get update && "
        "apt-get install -y --no-install-recommends postgresql rabbitmq-server'"
    )


def test_root_without_a_terminal_gets_the_missing_packages_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for apt-get notes its arguments, and whether services were held back."""
    policy, calls = tmp_path / "policy-rc.d", tmp_path / "calls"
    program(tmp_path / "bin" / "redis-server", 'echo "Redis server v=7.0.15"')
    program(tmp_path / "bin" / "apt-get", f'echo "$@" $({policy}; echo $?) >> {calls}')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("ops.stack.install.POLICY", policy)

    install_missing(discover(search(tmp_path)), allowed=None)

    assert calls.read_text().splitlines() == [
        "-q update 101",
        "-q install -y --no-install-recommends postgresql rabbitmq-server 101",
    ]
    assert not policy.exists()


def test_packages_may_not_start_services_while_they_are_installed(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"

    with services_held_back(policy):
        assert "exit 101" in policy.read_text()
        assert policy.stat().st_mode & 0o111

    assert not policy.exists()


def test_the_machines_own_policy_is_put_back_even_after_a_failure(tmp_path: Path) -> None:
    policy = program(tmp_path / "policy-rc.d", "exit 0")
    before = policy.read_text()

    with pytest.raises(KeyboardInterrupt), services_held_back(policy):
        raise KeyboardInterrupt

    assert policy.read_text() == before


def test_a_policy_left_by_an_installation_that_was_killed_is_no_one_elses(tmp_path: Path) -> None:
    policy = program(tmp_path / "policy-rc.d", "exit 0")
    before = policy.read_text()
    killed = services_held_back(policy)
    killed.__enter__()

    with services_held_back(policy):
        pass

    assert policy.read_text() == before

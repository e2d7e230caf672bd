import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops import cli
from ops.environment import settings_environment
from ops.errors import OperatorError
from ops.stack.folder import CHECKOUT
from ops.stack.stack import Stack


def ops(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "ops", *arguments],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_is_quick_and_names_every_command() -> None:
    begun = time.monotonic()
    told = ops("--help")
    took_s = time.monotonic() - begun

    assert told.returncode == 0
    for names in cli.COMMANDS.values():
        assert all(f"  {name} " in told.stdout for name in names)
    assert took_s < 1.5  # 0.1 s alone; the machine may be busy with other tests.


def test_a_command_whose_module_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "lost", ("find",))

    with pytest.raises(ModuleNotFoundError):
        cli.main(["find"], standalone_mode=False)


def test_doctor_says_where_each_service_comes_from_and_why() -> None:
    url = "redis://elsewhere:1/0"

    told = ops("doctor", TEKANA_REDIS_URL=url)

    assert "environment: TEKANA_REDIS_URL is set" in told.stdout
    assert "local binaries: PostgreSQL" in told.stdout


def test_doctor_without_any_service_fails_and_says_what_to_do(tmp_path: Path) -> None:
    told = ops("doctor", PATH=str(tmp_path))

    if "rabbitmq     no RabbitMQ is installed" in told.stdout:
        assert told.returncode == 1
        assert "miss to do" in told.stdout


def test_settings_come_from_the_environment_first(tmp_path: Path) -> None:
    given = {"TEKANA_DATABASE_URL": "postgresql://elsewhere/tekana", "OTHER": "1"}

    assert settings_environment(given, tmp_path) == given


def test_settings_come_from_the_running_stack_otherwise(tmp_path: Path) -> None:
    recorded = {"TEKANA_DATABASE_URL": "postgresql://here/tekana", "TEKANA_ENVIRONMENT": "x"}
    stack = Stack(tmp_path, environment={})
    stack.run.remember("application", variables=recorded)

    assert settings_environment({}, tmp_path) == recorded
    # As after `eval "$(./tekana env)"`, which prints the addresses but not every setting.
    exported = {"TEKANA_DATABASE_URL": recorded["TEKANA_DATABASE_URL"], "OTHER": "1"}
    assert settings_environment(exported, tmp_path) == {**recorded, "OTHER": "1"}


def test_without_either_the_operator_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as refusal:
        settings_environment({}, tmp_path)

    assert refusal.value.remedy == "Run ./tekana up"


def test_a_wanted_port_that_is_taken_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        stack = Stack(tmp_path, environment={"TEKANA_API_PORT": str(port)})
        with pytest.raises(OperatorError, match=f"Port {port} .* TEKANA_API_PORT names, is taken"):
            stack.application()[0].settle_ports()


def test_a_port_that_is_no_number_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="TEKANA_API_PORT is not a number"):
        Stack(tmp_path, environment={"TEKANA_API_PORT": "http"}).application()

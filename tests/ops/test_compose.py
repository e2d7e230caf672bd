import json
from pathlib import Path

import pytest

from ops.errors import OperatorError
from ops.stack.compose import COMPOSE_FILE, ComposeService
from ops.stack.folder import RunFolder
from tests.ops.test_discover import program

# Writes down how it was called, and behaves as if `up` had started what it names.
_DOCKER = """\
printf '%s\\n' "$*" >> {folder}/calls
env | grep -E '^(POSTGRES|RABBITMQ|REDIS)_' > {folder}/variables
case "$*" in
*" up "*) echo redis > {folder}/running ;;
*" stop "*|*" kill "*) : > {folder}/running ;;
*" ps "*) cat {folder}/running 2>/dev/null ;;
esac
exit {code}
"""


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComposeService:
    docker(tmp_path, 0)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    run = RunFolder(tmp_path / "run")
    run.prepare()
    return ComposeService("redis", run)


def docker(folder: Path, code: int) -> None:
    program(folder / "bin" / "docker", _DOCKER.format(folder=folder, code=code))


def test_a_service_is_run_in_a_project_of_its_checkout(
    redis: ComposeService, tmp_path: Path
) -> None:
    assert not redis.running()

    redis.start()

    assert redis.running()
    project = f"--project-name tekana-{RunFolder(tmp_path / 'run').digest()}"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert f"compose {project} --file {COMPOSE_FILE} up --detach --wait redis" in calls


def test_its_password_and_port_are_told_by_variables_and_kept(
    redis: ComposeService, tmp_path: Path
) -> None:
    redis.start()
    url = redis.url

    variables = dict(
        line.split("=", 1) for line in (tmp_path / "variables").read_text().splitlines()
    )
    assert url == (f"redis://:{variables['REDIS_PASSWORD']}@127.0.0.1:{variables['REDIS_PORT']}/0")
    redis.restart()
    assert redis.url == url


def test_a_container_that_does_not_start_is_an_error_with_what_docker_said(
    redis: ComposeService, tmp_path: Path
) -> None:
    redis.settle_ports()
    program(tmp_path / "bin" / "docker", 'echo "no space left" >&2; exit 1')

    with pytest.raises(OperatorError, match="failed") as failure:
        redis.start()

    assert "no space left" in failure.value.detail


def test_the_compose_file_publishes_on_the_loopback_alone() -> None:
    text = COMPOSE_FILE.read_text()

    for name in ("postgres", "rabbitmq", "redis"):
        assert f"  {name}:\n" in text
        assert f'"127.0.0.1:${{{name.upper()}_PORT' in text
    assert json.dumps("latest") not in text

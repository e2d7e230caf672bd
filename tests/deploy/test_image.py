"""deploy/Dockerfile. No image can be built in a test; what it would hold is looked at instead."""

import re
import subprocess

import pytest

from ops.stack.folder import CHECKOUT
from tests.deploy import tools
from tests.deploy.deployed import DOCKERFILE, copied_folders

_LINES = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()


def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(
        [tools.hadolint(), "--no-color", DOCKERFILE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_runs_as_a_user_who_is_nobody_from_an_image_without_tools() -> None:
    begins = [number for number, line in enumerate(_LINES) if line.startswith("FROM ")]
    last_stage = _LINES[begins[-1] :]

    assert [line for line in last_stage if line.startswith("USER ")] == ["USER 10001:10001"]
    assert not any(line.startswith("RUN ") for line in last_stage)
    assert len({_LINES[number].split()[1] for number in begins}) == 1
    assert re.search(r"^FROM python:3\.11\.\d+-slim-[a-z]+$", "\n".join(_LINES), re.MULTILINE)


def test_it_installs_nothing_that_is_not_in_the_lock_by_hash() -> None:
    [install] = [line for line in _LINES if "pip install" in line]

    assert "--no-deps --require-hashes -r /tmp/requirements.lock" in re.sub(r" +", " ", install)
    assert "--only-binary :all:" in install


def test_the_builder_sees_what_is_copied_and_nothing_else() -> None:
    text = (CHECKOUT / ".dockerignore").read_text()
    rules = [line for line in text.splitlines() if line and line[0] != "#"]
    copied = ["requirements.lock", *copied_folders()]

    assert rules == ["*", *(f"!{name}" for name in copied), "**/__pycache__"]
    assert sum(line.startswith("COPY ") for line in _LINES) == len(copied) + 2  # And two stages.


@pytest.mark.parametrize("value", ["", "with space", 'quo"te', "semi;colon", "new\nline", "a/b"])
def test_a_password_that_could_mean_something_else_is_refused(value: str) -> None:
    script = CHECKOUT / "deploy" / "fill-in.sh"

    done = subprocess.run(
        ["sh", script, CHECKOUT / "deploy" / "redis" / "users.acl", "/dev/null", "echo", "started"],
        env={"PATH": "/usr/bin:/bin", "API_PASSWORD": "good", "LEDGER_PASSWORD": value},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "LEDGER_PASSWORD is empty, or not of letters" in done.stderr
    assert "started" not in done.stdout

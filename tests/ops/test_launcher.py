"""The bash part: a copy of the launcher with small lock files and a command of its own."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.stack.folder import CHECKOUT
from tests.ops.test_discover import program
from tests.support import wait_until

_LOCK = "# Nothing is needed.\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose `ops` prints its arguments and the path it would import from."""
    folder = tmp_path / "checkout"
    (folder / "ops").mkdir(parents=True)
    shutil.copy(CHECKOUT / "tekana", folder)
    (folder / "ops" / "__main__.py").write_text(
        "import sys; print(sys.argv[1:], sys.prefix, sys.path[0])"
    )
    for name in ("requirements.lock", "requirements-dev.lock"):
        (folder / name).write_text(_LOCK)
    return folder


@pytest.fixture(scope="module")
def quick_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH whose Python copies a ready environment, which is quicker than making one."""
    folder = tmp_path_factory.mktemp("quick")
    subprocess.run([sys.executable, "-m", "venv", folder / "ready"], check=True)
    program(
        folder / "bin" / "python3.11",
        f"""[ "$1 $2" = "-m venv" ] && exec cp -a {folder / "ready"} "$3"
exec {sys.executable} "$@" """,
    )
    return f"{folder / 'bin'}:{os.environ['PATH']}"


def tekana(
    checkout: Path, *arguments: str, path: str | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(
        [checkout / "tekana", *arguments],
        env=environment,
        cwd=folder or checkout,
        capture_output=True,
        text=True,
        check=False,
    )


def made_at(checkout: Path) -> int:
    return (checkout / ".venv" / "pyvenv.cfg").stat().st_mtime_ns


def test_the_environment_is_made_once_and_again_when_the_lock_changes(
    checkout: Path, tmp_path: Path, quick_path: str
) -> None:
    first = tekana(checkout, "env", "two words", folder=tmp_path)
    assert first.stdout.strip() == f"['env', 'two words'] {checkout / '.venv'} {checkout}"
    made = made_at(checkout)

    assert tekana(checkout, "env").stderr == ""
    assert made_at(checkout) == made

    (checkout / "requirements.lock").write_text(_LOCK + "# Changed.\n")
    assert tekana(checkout, "env", path=quick_path).returncode == 0
    assert made_at(checkout) != made


def test_an_interrupted_installation_does_not_pass_for_whole(
    checkout: Path, quick_path: str
) -> None:
    pipe = checkout / "never-written"
    os.mkfifo(pipe)  # Whoever reads it waits: pip, in an environment that is otherwise whole.
    (checkout / "requirements.lock").write_text(f"-r {pipe}\n")
    with subprocess.Popen(
        [checkout / "tekana", "env"],
        env={**os.environ, "PATH": quick_path},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as installing:
        try:
            wait_until((checkout / ".venv" / "install.log").exists)
        finally:
            os.killpg(installing.pid, signal.SIGKILL)
    assert not (checkout / ".venv" / "installed").exists()

    (checkout / "requirements.lock").write_text(_LOCK)

    assert tekana(checkout, "env", path=quick_path).returncode == 0


def test_a_failed_installation_shows_why_and_does_not_pass_for_whole(
    checkout: Path, quick_path: str
) -> None:
    (checkout / "requirements.lock").write_text("click==8.1.7  # Without a hash.\n")

    failed = tekana(checkout, "env", path=quick_path)

    assert failed.returncode == 1
    assert "hash" in failed.stderr.lower()
    assert "What to do:" in failed.stderr
    assert not (checkout / ".venv" / "installed").exists()


def test_two_at_once_make_one_environment(checkout: Path, quick_path: str) -> None:
    both = [
        subprocess.Popen(
            [checkout / "tekana", "status"],
            env={**os.environ, "PATH": quick_path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [process.communicate() for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert sorted("Installing" in errors for _, errors in told) == [False, True]


def test_test_and_check_install_what_they_need_on_top(checkout: Path, quick_path: str) -> None:
    assert tekana(checkout, "env", path=quick_path).returncode == 0
    stamp = checkout / ".venv" / "installed"
    made = stamp.stat().st_mtime_ns
    assert not (checkout / ".venv" / "installed-dev").exists()

    assert tekana(checkout, "test", "-k", "one", path=quick_path).returncode == 0

    assert (checkout / ".venv" / "installed-dev").exists()
    assert stamp.stat().st_mtime_ns == made


@pytest.mark.parametrize("root", [True, False])
def test_debians_missing_part_of_python_is_installed_or_the_line_shown(
    checkout: Path, tmp_path: Path, quick_path: str, root: bool
) -> None:
    """A Python without ensurepip, as Debian has it, until its package is installed."""
    programs = tmp_path / "programs"
    installed = tmp_path / "apt-get-was-run"
    program(
        programs / "python3.11",
        f"""case "$2" in *ensurepip*) [ -e {installed} ] || exit 1 ;; esac
exec {quick_path.split(":")[0]}/python3.11 "$@" """,
    )
    program(programs / "apt-get", f'echo "$@" >> {installed}')
    program(programs / "id", f"echo {0 if root else 1000}")

    done = tekana(checkout, "env", path=f"{programs}:{os.environ['PATH']}")

    if root:
        assert done.returncode == 0
        assert "install -y python3.11-venv" in installed.read_text()
    else:
        assert done.returncode == 1
        assert "apt-get update && apt-get install -y python3.11-venv" in done.stderr
        assert not (checkout / ".venv").exists()


def test_an_old_python_is_refused_with_the_line_to_run(checkout: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15))):
        program(programs / name, "exit 1")

    done = tekana(checkout, "env", path=f"{programs}:/usr/bin:/bin")

    assert done.returncode == 1
    assert "Python 3.11 or newer was not found" in done.stderr
    assert "apt-get install -y python3 python3-venv" in done.stderr

"""The shape of the code: who imports whom, and how long a file may be."""

import subprocess
import sys
from pathlib import Path

from ops.stack.folder import CHECKOUT

LINES_MOST = 350

_FOLDERS = (
    "api",
    "bench",
    "config",
    "domain",
    "examples",
    "migrations",
    "ops",
    "producers",
    "storage",
    "tests",
    "workers",
)


def _sources() -> list[Path]:
    return [
        CHECKOUT / "tekana",
        *(path for folder in _FOLDERS for path in sorted((CHECKOUT / folder).rglob("*.py"))),
    ]


def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_no_file_is_too_long_to_be_read_at_once() -> None:
    assert len(_sources()) > 50
    long = {
        str(path.relative_to(CHECKOUT)): count
        for path in _sources()
        if (count := len(path.read_text().splitlines())) > LINES_MOST
    }

    assert long == {}

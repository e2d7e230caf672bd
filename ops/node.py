"""Programs in JavaScript that checks and tests run, with the node of `requirements-dev.lock`."""

import hashlib
import shutil
import subprocess
import sys
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Final

from ops.errors import OperatorError

_ENVIRONMENT: Final = Path(sys.prefix)
NODE: Final = str(_ENVIRONMENT / "bin" / "node")
_NPM: Final = str(_ENVIRONMENT / "bin" / "npm")

_INSTALL: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_TIMEOUT_S: Final = 300
_LINES_SHOWN: Final = 8


def installed(source: Path) -> Path:
    """A copy of a package's folder in which everything its lock names is installed.

    It is made once for each state of the folder, inside the virtual environment, so that the
    checkout stays as it is. Raises: OperatorError if npm cannot install.
    """
    files = sorted(path for path in source.iterdir() if path.is_file())
    state = hashlib.sha256()
    for path in files:
        state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    folder = _ENVIRONMENT / "npm" / f"{source.name}-{state.hexdigest()[:16]}"
    folder.parent.mkdir(exist_ok=True)
    # Two halves of the tests, or a check beside them, may want the same.
    with folder.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (folder / "installed").exists():
            _install(source, files, folder)
    return folder


def _install(source: Path, files: list[Path], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in files:
        shutil.copy2(path, folder)
    done = subprocess.run(
        [_NPM, *_INSTALL],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise OperatorError(
            f"npm could not install what {source.name}/package-lock.json names.",
            "See what it says, and run the command again",
            detail="\n".join(said[-_LINES_SHOWN:]),
        )
    (folder / "installed").touch()

"""The run folder: state, records, logs and data of one private stack.

`.run/` holds everything, with one exception. As root, services run under accounts of their
own, and those cannot pass through a checkout below a 0700 folder such as /root. Then the data
lie in a folder of their own below /var/lib/tekana (which, unlike /var/tmp, is neither writable
by everybody nor swept by the system), and `.run/data` is a link to it.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.errors import OperatorError
from ops.stack.accounts import reachable_by_all

CHECKOUT = Path(__file__).resolve().parents[2]
DEFAULT_RUN_FOLDER = CHECKOUT / ".run"
OUTSIDE = Path("/var/lib/tekana")
CLAIM = "owner.json"
_NEEDED_BYTES = 512 * 1024 * 1024


class RunFolder:
    """One stack's folder. The state is a small JSON document with passwords in it (0600)."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._state_path = self.path / "state.json"
        self._guard = threading.Lock()
        self._holds = 0

    def prepare(self) -> None:
        """Make the folder. Raises OperatorError if it was copied, or if the disk is full."""
        # 0711: a service's account passes through to its data, and cannot look around.
        self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.path.chmod(0o711)
        self._refuse_full_disk()
        with self.locked():
            self._refuse_copy()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder alone: two commands that start or stop things wait for each other.

        Whoever holds it may enter again.
        """
        if self._holds:
            yield
            return
        with (self.path / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Waiting for another ./tekana in this folder …", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._holds += 1
            try:
                yield
            finally:
                self._holds -= 1

    def state(self) -> dict[str, Any]:
        """The whole state; empty if there is none."""
        try:
            found: dict[str, Any] = json.loads(self._state_path.read_text())
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise OperatorError(
                f"{self._state_path} belongs to another user.",
                "Run the command as the user who ran ./tekana up.",
            ) from error
        except ValueError as error:
            raise OperatorError(
                f"{self._state_path} is damaged.", "Remove it, or the whole folder, and try again."
            ) from error
        return found

    def remember(self, section: str, **values: Any) -> None:
        """Add values to a section of the state; None removes one."""
        with self._guard:
            state = self.state()
            merged = {**state.get(section, {}), **values}
            state[section] = {key: value for key, value in merged.items() if value is not None}
            self._write(state)

    def recall(self, section: str) -> dict[str, Any]:
        """One section of the state; empty if there is none."""
        found: dict[str, Any] = self.state().get(section, {})
        return found

    def data(self) -> Path:
        """The folder that holds the data of the services; made on first use."""
        with self._guard:
            place = self.path / "data"
            if place.is_symlink() and not place.exists():
                place.unlink()  # Somebody removed what it led to; there is nothing to come back to.
            if not place.exists():
                self._make_data(place)
            return place.resolve()

    def purge(self) -> None:
        """Remove the folder with its data for good. Nothing of it may be running.

        Folders in it that another process has claimed, such as a test run's, stay. Raises
        OperatorError if something may not be removed.
        """
        place = self.path / "data"
        try:
            if place.is_symlink() and place.exists():
                shutil.rmtree(place.resolve())
            for entry in self.path.iterdir() if self.path.exists() else ():
                if entry.is_dir() and not entry.is_symlink():
                    if not (entry / CLAIM).exists():
                        shutil.rmtree(entry)
                else:
                    entry.unlink()
            if self.path.exists() and not any(self.path.iterdir()):
                self.path.rmdir()
        except OSError as error:
            raise OperatorError(
                f"{error.filename} cannot be removed: {error.strerror}.",
                "Repeat the command as the user who ran ./tekana up.",
            ) from error

    def digest(self) -> str:
        """Eight characters that tell this folder from another checkout's."""
        return hashlib.sha256(str(self.path).encode()).hexdigest()[:8]

    def _make_data(self, place: Path) -> None:
        if os.geteuid() != 0 or reachable_by_all(self.path):
            place.mkdir(mode=0o711)
            return
        OUTSIDE.mkdir(mode=0o711, exist_ok=True)
        target = Path(tempfile.mkdtemp(prefix=f"{self.digest()}-", dir=OUTSIDE))
        target.chmod(0o711)
        # Told to whoever finds the folder after its checkout is gone.
        (target / "belongs-to").write_text(f"{self.path}\n")
        place.symlink_to(target)

    def _write(self, state: dict[str, Any]) -> None:
        fresh = self._state_path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(state, indent=1))
        fresh.replace(self._state_path)

    def _refuse_copy(self) -> None:
        """A copied checkout must not take the first one's running services for its own."""
        found = self.path.stat()
        identity = f"{found.st_dev}:{found.st_ino}"
        recorded = self.recall("folder").get("identity")
        if recorded is None:
            self.remember("folder", identity=identity)
        elif recorded != identity:
            raise OperatorError(
                f"{self.path} is a copy of another checkout's run folder.",
                f"Run: rm -rf {self.path}",
            )

    def _refuse_full_disk(self) -> None:
        free = shutil.disk_usage(self.path).free
        if free < _NEEDED_BYTES:
            raise OperatorError(
                f"Only {free // 1024**2} MB are free on the disk of {self.path}.",
                f"Free at least {_NEEDED_BYTES // 1024**2} MB and try again.",
            )


def abandoned() -> list[Path]:
    """Data folders below /var/lib/tekana whose run folder no longer leads to them."""
    if not OUTSIDE.is_dir() or not os.access(OUTSIDE, os.R_OK):
        return []
    return [place for place in sorted(OUTSIDE.iterdir()) if not _is_led_to(place)]


def _is_led_to(place: Path) -> bool:
    try:
        owner = Path((place / "belongs-to").read_text().strip())
        return (owner / "data").resolve() == place
    except OSError:
        return False

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
import pwd
import shlex
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ops.errors import OperatorError
from ops.stack.accounts import reachable_by_all

CHECKOUT = Path(__file__).resolve().parents[2]
DEFAULT_RUN_FOLDER = CHECKOUT / ".run"
OUTSIDE = Path("/var/lib/tekana")
CLAIM = "owner.json"
_NEEDED_BYTES = 512 * 1024 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RunFolder:
    """One stack's folder. The state is a small JSON document with passwords in it (0600)."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._state_path = self.path / "state.json"
        self._guard = threading.Lock()
        self._holds = 0

    def prepare(self) -> None:
        """Make the folder.

        Raises OperatorError if it is another user's, if it was copied, or if the disk is full.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._refuse_anothers()
        _let_pass(self.path)
        self._refuse_full_disk()
        with self.locked():
            self._refuse_copy()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder alone: two commands that start or stop things wait for each other.

        Whoever holds it may enter again. Raises OperatorError if the folder is another user's.
        """
        if self._holds:
            yield
            return
        self._refuse_anothers()
        with self._lock():
            self._holds += 1
            try:
                yield
            finally:
                self._holds -= 1

    def _lock(self) -> IO[str]:
        """The locked file; unlocked when it is closed."""
        path = self.path / "lock"
        while True:
            lock = path.open("a")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Waiting for another ./tekana in this folder …", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever held it may have removed the folder: then this is nobody's lock any more.
            if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
            lock.close()
            self.path.mkdir(parents=True, exist_ok=True)
            _let_pass(self.path)

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
            place.mkdir()
            _let_pass(place)
            return
        OUTSIDE.mkdir(exist_ok=True)
        _let_pass(OUTSIDE)
        target = Path(tempfile.mkdtemp(prefix=f"{self.digest()}-", dir=OUTSIDE))
        _let_pass(target)
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
        """A copied checkout must not take the first one's running services or data for its own.

        A device may have another number after a restart of the machine, and then nothing runs.
        """
        found, boot = self.path.stat(), _BOOT_ID.read_text().strip()
        identity = f"{found.st_dev}:{found.st_ino}"
        recorded = self.recall("folder")
        moved = recorded.get("identity") not in (None, identity)
        if moved and (recorded.get("boot", boot) == boot or self._data_of_another()):
            raise OperatorError(
                f"{self.path} is a copy of another checkout's run folder.",
                f"Run: rm -rf {shlex.quote(str(self.path))}",
            )
        if recorded.get("identity") != identity or recorded.get("boot") != boot:
            self.remember("folder", identity=identity, boot=boot)

    def _data_of_another(self) -> bool:
        """Whether the data lie outside, and the checkout that they were made for is still there."""
        place = self.path / "data"
        if not place.is_symlink() or not place.exists():
            return False
        owner = Path((place / "belongs-to").read_text().strip())
        return owner != self.path and owner.exists()

    def _refuse_anothers(self) -> None:
        """What root leaves in a user's folder, or a user in root's, is of no use to its owner."""
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            try:
                name = pwd.getpwuid(owner).pw_name
            except KeyError:
                name = f"user {owner}"
            raise OperatorError(f"{self.path} belongs to {name}.", f"Run the command as {name}.")

    def _refuse_full_disk(self) -> None:
        free = shutil.disk_usage(self.path).free
        if free < _NEEDED_BYTES:
            raise OperatorError(
                f"Only {free // 1024**2} MB are free on the disk of {self.path}.",
                f"Free at least {_NEEDED_BYTES // 1024**2} MB and try again.",
            )


def _let_pass(folder: Path) -> None:
    """A service's account passes through to its data, and cannot look around.

    Whatever the umask is: it holds for what is made, and not for this.
    """
    folder.chmod(0o711)


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

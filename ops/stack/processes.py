"""Processes that outlive the command that started them, found again by their records.

A record holds the pid, the process's start time as the kernel tells it and the boot it belongs
to. A pid alone proves nothing: after a crash or a reboot another program may have it.
"""

import atexit
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ops.stack.accounts import Account

_POLL_S = 0.02
_LOG_LIMIT_BYTES = 16 * 1024 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# Children of this very process stay zombies until they are waited for.
_children: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _let_go() -> None:
    """Processes outlive the command that started them; Popen would warn of each at its end."""
    for child in _children.values():
        child.returncode = child.poll() or 0


@dataclass(frozen=True)
class ProcessRecord:
    """One started process. `started_ticks` is field 22 of /proc/<pid>/stat."""

    pid: int
    started_ticks: int
    boot_id: str
    uid: int
    command: tuple[str, ...]
    started_at: str


@dataclass(frozen=True)
class _Stat:
    pid: int
    parent: int
    session: int
    started_ticks: int
    alive: bool


class ManagedProcess:
    """A named process with its record in `processes/` and its log in `logs/` of a run folder."""

    def __init__(self, name: str, run_folder: Path) -> None:
        self.name = name
        self.record_path = run_folder / "processes" / f"{name}.json"
        self.log_path = run_folder / "logs" / f"{name}.log"

    def start(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        folder: Path,
        account: Account | None = None,
    ) -> None:
        """Start the command in a session of its own and record it.

        A session of its own keeps the terminal's Ctrl-C away from it. The log is opened here and
        inherited, so that a service under another account can write into a closed folder.
        """
        self.record_path.parent.mkdir(parents=True, exist_ok=True)
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        _turn_over(self.log_path)
        arguments = [str(part) for part in command]
        with open(self.log_path, "ab", opener=_private) as log:
            child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                umask=0o077,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        started = _stat(child.pid)
        _children[child.pid] = child
        if started is None:  # Even a child that has ended is listed until it is waited for.
            raise ChildProcessError(f"{self.name} vanished on its start")
        self._write(
            ProcessRecord(
                pid=child.pid,
                started_ticks=started.started_ticks,
                boot_id=_boot_id(),
                uid=account.uid if account else os.geteuid(),
                command=tuple(arguments),
                started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        )

    def record(self) -> ProcessRecord | None:
        """What was recorded last, whether or not it still runs."""
        try:
            values = json.loads(self.record_path.read_text())
            return ProcessRecord(**{**values, "command": tuple(values["command"])})
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def pid(self) -> int | None:
        """The pid of the running process, None if it does not run."""
        record = self.record()
        return record.pid if record and _leads(record, _stat(record.pid)) else None

    def running(self) -> bool:
        """Whether the recorded process is alive: the same pid, start time and boot."""
        return self.pid() is not None

    def send(self, number: int) -> None:
        """Send a signal to the process and to every process it started."""
        for member in self._members():
            _send(member, number)

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> None:
        """Ask the process to end, wait, and end by force what is left after `timeout_s`."""
        members = self._members()
        record = self.record()
        leader = next((one for one in members if record and one.pid == record.pid), None)
        if leader is not None:
            _send(leader, number)
            for member in members:  # A process that is paused does not hear the request.
                _send(member, signal.SIGCONT)
            if _await_end([leader], timeout_s):
                _await_end(members, 2.0)
        self._end(members)

    def kill(self) -> None:
        """End the process and all it started at once, as a crash would."""
        # Stopped first: a process that is being ended must not start others meanwhile.
        self.send(signal.SIGSTOP)
        self._end(self._members())

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 64 * 1024))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _end(self, members: list[_Stat]) -> None:
        for member in [*members, *self._members()]:
            _send(member, signal.SIGKILL)
        _await_end(members, 10.0)
        self.record_path.unlink(missing_ok=True)

    def _members(self) -> list[_Stat]:
        record = self.record()
        return _members_of(record) if record else []

    def _write(self, record: ProcessRecord) -> None:
        fresh = self.record_path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(record), indent=1))
        fresh.replace(self.record_path)


def own_identity() -> dict[str, str | int]:
    """Describe the calling process, so that another one can tell later whether it is gone."""
    started = _stat(os.getpid())
    ticks = started.started_ticks if started else 0
    return {"pid": os.getpid(), "started_ticks": ticks, "boot_id": _boot_id()}


def is_alive(identity: Mapping[str, str | int]) -> bool:
    """Whether the process that `own_identity` described still runs."""
    found = _stat(int(identity["pid"]))
    return (
        found is not None
        and found.alive
        and found.started_ticks == identity["started_ticks"]
        and identity["boot_id"] == _boot_id()
    )


def _members_of(record: ProcessRecord) -> list[_Stat]:
    """The recorded process, all that descend from it, and all of its session, if alive.

    Postgres puts each of its processes in a session of its own: they are found by descent.
    What a crashed parent leaves behind has no descent any more: it is found by its session,
    whose number no other process can take while a member lives.
    """
    if record.boot_id != _boot_id():
        return []
    table = {one.pid: one for one in map(_stat, _all_pids()) if one is not None}
    leader = table.get(record.pid)
    if leader is not None and leader.started_ticks != record.started_ticks:
        return []  # The pid belongs to another program now, and so would its session.
    family = {record.pid} if leader else set()
    grown = True
    while grown:
        found = {one.pid for one in table.values() if one.parent in family} - family
        family |= found
        grown = bool(found)
    family |= {one.pid for one in table.values() if _in_session(one, record)}
    return [table[pid] for pid in family if table[pid].alive]


def _in_session(one: _Stat, record: ProcessRecord) -> bool:
    if one.session != record.pid or one.started_ticks < record.started_ticks:
        return False
    try:
        return Path(f"/proc/{one.pid}").stat().st_uid == record.uid
    except OSError:
        return False


def _leads(record: ProcessRecord, found: _Stat | None) -> bool:
    return (
        found is not None
        and found.alive
        and found.started_ticks == record.started_ticks
        and record.boot_id == _boot_id()
    )


def _send(member: _Stat, number: int) -> None:
    current = _stat(member.pid)
    if current is None or current.started_ticks != member.started_ticks or not current.alive:
        return
    try:
        os.kill(member.pid, number)
    except ProcessLookupError:
        return


def _await_end(members: list[_Stat], timeout_s: float) -> bool:
    """Whether all have ended before the time was over."""
    deadline = time.monotonic() + timeout_s
    while any(_still(member) for member in members):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _still(member: _Stat) -> bool:
    current = _stat(member.pid)
    return current is not None and current.alive and current.started_ticks == member.started_ticks


def _stat(pid: int) -> _Stat | None:
    child = _children.get(pid)
    if child is not None and child.returncode is None and child.poll() is not None:
        _children.pop(pid, None)
        return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name in parentheses may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return _Stat(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        started_ticks=int(fields[19]),
        alive=fields[0] not in "ZX",
    )


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()


def _turn_over(log: Path) -> None:
    """Keep one older log: a log that only grows fills the disk some day."""
    try:
        if log.stat().st_size > _LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
    except FileNotFoundError:
        return


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

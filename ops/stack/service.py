"""What every service of the private stack can do."""

import contextlib
import os
import secrets
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from config.settings import DEVELOPMENT_MARK
from ops.errors import OperatorError
from ops.stack.discover import Programs
from ops.stack.folder import RunFolder
from ops.stack.ports import HOST, free_port, is_free
from ops.stack.processes import ManagedProcess

_POLL_S = 0.05


class Interrupted(Exception):
    """The command was told to stop while a service was starting."""


class PortTaken(OperatorError):
    """A service did not come up because somebody took one of its ports at the last moment."""


class Service(ABC):
    """Postgres, RabbitMQ or Redis, wherever it comes from."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, with user and password."""

    @property
    @abstractmethod
    def log_path(self) -> Path:
        """The file the service logs to."""

    @abstractmethod
    def start(self) -> None:
        """Start it and return when it answers. Does nothing if it runs.

        Raises OperatorError with the last lines of its log if it does not come up.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop it in order; its data and its address stay."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once, as a crash would."""

    @abstractmethod
    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""

    @abstractmethod
    def resume(self) -> None:
        """Let it go on after `pause`."""

    @abstractmethod
    def running(self) -> bool:
        """Whether it runs (it may be paused)."""

    def restart(self) -> None:
        """Stop and start it at the same address."""
        self.stop()
        self.start()

    @abstractmethod
    def settle_ports(self) -> None:
        """Choose the ports of a service that does not run, before it is started."""

    @abstractmethod
    def interrupt(self) -> None:
        """Make a `start` that is under way in another thread raise Interrupted."""

    def remove(self) -> None:
        """End it for good. What lies in the run folder goes with that."""
        self.kill()

    def describe(self) -> dict[str, str]:
        """What `status` shows: pid, port and since when, as far as they are known."""
        return {}


class PrivateService(Service):
    """A service run from local binaries as a process of this stack.

    Its ports are chosen once and kept in the state, so that a restart keeps its address and
    clients find it again.
    """

    port_names: ClassVar[tuple[str, ...]] = ()
    start_timeout_s: ClassVar[float] = 60.0

    def __init__(self, run: RunFolder, programs: Programs | None) -> None:
        """`programs` None: it can be watched and stopped, but not started."""
        self._run = run
        self._programs = programs
        self._process = ManagedProcess(self.name, run.path)
        self._interrupted = threading.Event()

    @property
    def log_path(self) -> Path:
        """The file that collects what the service prints, over all its starts."""
        return self._process.log_path

    @property
    def programs(self) -> Programs:
        """The programs it is started from. Raises OperatorError if they were not looked for."""
        if self._programs is None:
            raise OperatorError(f"{self.name} was not started by this command.")
        return self._programs

    @property
    def pid(self) -> int | None:
        """The pid of the main process, None if it does not run."""
        return self._process.pid()

    def port(self, name: str) -> int:
        """One of the recorded ports."""
        found: int = self._run.recall(self.name)["ports"][name]
        return found

    def settle_ports(self) -> None:
        """Choose ports, or others if somebody else took one while the service was down."""
        if self.running():
            return
        self._end_leftovers()
        recorded = self._ports()
        if recorded and all(is_free(port) for port in recorded.values()):
            return
        chosen: dict[str, int] = {}
        for name in self.port_names:
            chosen[name] = free_port(avoid=[*chosen.values(), *self._ports_of_others()])
        self._run.remember(self.name, ports=chosen)

    def start(self) -> None:
        """Start the service and return when it answers; see `Service.start`."""
        self._interrupted.clear()
        if self.running():
            return
        self._end_leftovers()
        if not self._ports():
            self.settle_ports()
        try:
            self._launch()
        except BaseException:
            # Nothing half started stays behind, whatever went wrong.
            self.kill()
            raise

    def interrupt(self) -> None:
        """Make a `start` that is under way in another thread raise Interrupted."""
        self._interrupted.set()

    def running(self) -> bool:
        """Whether the recorded process is alive."""
        return self._process.running()

    def kill(self) -> None:
        """SIGKILL to the process and all it started."""
        self._process.kill()

    def pause(self) -> None:
        """SIGSTOP to the process and all it started."""
        self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT to the process and all it started."""
        self._process.send(signal.SIGCONT)

    def describe(self) -> dict[str, str]:
        """Pid, first port and start time of the running process."""
        record = self._process.record()
        if record is None or not self.running():
            return {}
        port = str(self.port(self.port_names[0])) if self.port_names else ""
        return {"pid": str(record.pid), "port": port, "since": record.started_at}

    @abstractmethod
    def _launch(self) -> None:
        """Prepare the data, start the process and wait until it answers."""

    def _end_leftovers(self) -> None:
        """End what a crashed main process left behind: it holds ports, and perhaps data."""
        self._process.kill()

    def _await(self, answers: Callable[[], bool], what: str) -> None:
        """Wait until `answers()`, watching the process. Raises OperatorError or Interrupted."""
        deadline = time.monotonic() + self.start_timeout_s
        while not answers():
            self._check_interrupted()
            if not self._process.running():
                raise self._failure(f"{what} ended while it was starting")
            if time.monotonic() > deadline:
                raise self._failure(f"{what} did not answer within {self.start_timeout_s:.0f} s")
            time.sleep(_POLL_S)

    def _check_interrupted(self) -> None:
        if self._interrupted.is_set():
            raise Interrupted(self.name)

    def _failure(self, what: str) -> OperatorError:
        if not self._process.running():
            self.kill()  # What it started itself, such as epmd, must not pass for a stranger.
            taken = [port for port in self._ports().values() if not is_free(port)]
            if taken:
                return PortTaken(
                    f"{what}: port {taken[0]} on {HOST} is taken.",
                    "Run the command again; another port is chosen.",
                    detail=self._process.log_tail(),
                )
        return OperatorError(f"{what}.", f"Read {self.log_path}", detail=self._process.log_tail())

    def _ports(self) -> dict[str, int]:
        found: dict[str, int] = self._run.recall(self.name).get("ports", {})
        return found

    def _ports_of_others(self) -> list[int]:
        sections = self._run.state().values()
        return [port for section in sections for port in section.get("ports", {}).values()]

    def _password(self) -> str:
        """The generated password of this service; made on first use."""
        found: str | None = self._run.recall(self.name).get("password")
        if found is None:
            # The mark makes a production process refuse it, should it ever be copied there.
            found = f"{DEVELOPMENT_MARK}-{secrets.token_urlsafe(24)}"
            self._run.remember(self.name, password=found)
        return found


def plain_environment(home: Path) -> dict[str, str]:
    """A small environment for a service: nothing of the caller's but where programs are."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


def quietly(check: Callable[[], None], *errors: type[Exception]) -> bool:
    """Whether the check passes; the named errors mean that it does not."""
    with contextlib.suppress(*errors):
        check()
        return True
    return False

"""The sender in a process of its own, which holds no settings, no database and no broker.

Whatever a receiver sends back is read where there is nothing to be found; and a second
processor posts what this one reads and notes, which threads of one Python could not.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import count
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any, Final

from workers.callbacks.letters import Attempt, Letter, SenderGone

log = logging.getLogger(__name__)

STOP: Final = "stop"
END: Final = "end"
"""What is said to the process besides jobs, which are a number and what `Sender.start` takes."""

_ROOT: Final = Path(__file__).parents[2]
_ENDS_IN_S: Final = 5.0


class SenderProcess:
    """A `Sender` in another process, for any number of threads. It ends when this one does."""

    def __init__(self, **options: Any) -> None:
        """`options` are the Sender's. Raises: OSError."""
        self._options = options
        self._lock = threading.Lock()
        self._line = _Line(options)

    @property
    def pid(self) -> int:
        """Of the process that sends now."""
        return self._line.process.pid

    def start(
        self,
        endpoint_id: str,
        url: str,
        letters: Sequence[Letter],
        secrets: Sequence[bytes],
        for_s: float,
    ) -> "Future[list[Attempt | None]]":
        """As the Sender's. What waits for a process that ends gets SenderGone; another is made."""
        with self._lock:
            if self._line.broken:
                log.warning("the sender has ended; another one is started")
                self._line.close()
                self._line = _Line(self._options)
            return self._line.ask(endpoint_id, url, letters, secrets, for_s)

    def stop(self) -> None:
        """Send nothing more. What is on its way is waited for."""
        with self._lock:
            self._line.tell(STOP)

    def close(self) -> None:
        """End the process. Final; nothing may be on its way."""
        self._line.close()


class _Line:
    """One process of a sender, and the futures that wait for it."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.broken = False
        self._ours, theirs = Pipe()
        self.process = subprocess.Popen(  # noqa: S603  The command is ours.
            [sys.executable, "-m", "workers.callbacks.sender_main", str(theirs.fileno())],
            cwd=_ROOT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={name: v for name, v in os.environ.items() if not name.startswith("TEKANA_")},
        )
        theirs.close()
        self._numbers = count()
        self._waiting: dict[int, Future[list[Attempt | None]]] = {}
        self.tell(options)
        self._reader = threading.Thread(target=self._read, name="sent", daemon=True)
        self._reader.start()

    def ask(self, *job: Any) -> "Future[list[Attempt | None]]":
        future: Future[list[Attempt | None]] = Future()
        number = next(self._numbers)
        self._waiting[number] = future
        self.tell((number, job))
        if self.broken:
            self._give_up()
        return future

    def tell(self, message: Any) -> None:
        try:
            self._ours.send(message)
        except OSError:
            self.broken = True

    def close(self) -> None:
        """End the process, if it has not, and be done with it."""
        self.tell(END)
        try:
            self.process.wait(_ENDS_IN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self._ours.close()

    def _read(self) -> None:
        try:
            while True:
                number, attempts = self._ours.recv()
                self._waiting.pop(number).set_result(attempts)
        except (EOFError, OSError):
            self.broken = True
            self._give_up()

    def _give_up(self) -> None:
        while self._waiting:
            _, future = self._waiting.popitem()
            future.set_exception(SenderGone())

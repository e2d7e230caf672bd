"""The receiver's side of the demo: the sample receiver runs, and what it prints is counted."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from ops.demo.figures import Callbacks, Latency
from ops.demo.http import Api
from ops.demo.progress import Steps
from ops.errors import OperatorError
from ops.stack.folder import CHECKOUT
from ops.stack.ports import HOST, accepts, free_port

_RECEIVER: Final = CHECKOUT / "examples" / "callbacks" / "receiver.py"
_OUTCOMES: Final = ("instruction.succeeded", "instruction.rejected")

_START_S: Final = 20.0
_POLL_S: Final = 0.05
_PATIENCE_S: Final = 60.0
"""Without a single further callback for so long, the rest is called missing."""


@dataclass(slots=True)
class Heard:
    """What the receiver has told so far. One thread adds to it, others may look."""

    outcomes: dict[str, dict[str, str]] = field(default_factory=dict)
    """By instruction: the type of each event about it, by the event's id."""
    delays_s: list[float] = field(default_factory=list)
    """From when each was decided until it was received."""
    repeated: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    """What it printed that is no line of JSON."""

    def listen(self, lines: Iterable[str]) -> None:
        """Take lines until they end."""
        for line in lines:
            self.take(line)

    def take(self, line: str) -> None:
        """Take one line of the receiver's."""
        try:
            said = dict(json.loads(line))
        except (ValueError, TypeError):
            self.unexpected.append(line.rstrip())
            return
        if "refused" in said:
            self.refused[said["refused"]] += 1
        elif not said["new"]:
            self.repeated += 1
        else:
            instruction = said["data"]
            decided_s = datetime.fromisoformat(instruction["decided_at"]).timestamp()
            self.delays_s.append(said["received_at"] - decided_s)
            self.outcomes.setdefault(instruction["id"], {})[said["id"]] = said["type"]

    def wait(self, count: int, steps: Steps) -> None:
        """Return once so many instructions were told of, or when no more seem to come."""
        known, until = 0, time.monotonic() + _PATIENCE_S
        with steps.step("Awaiting their callbacks", count) as advance:
            while known < count and time.monotonic() < until:
                time.sleep(_POLL_S)
                if more := len(self.outcomes) - known:
                    advance(more)
                    known, until = known + more, time.monotonic() + _PATIENCE_S

    def differences(self, statuses: Mapping[str, str]) -> list[str]:
        """How this is not one verified event of the right type for each decided instruction."""
        found = [
            f"callbacks: {count} refused by the receiver, {reason}"
            for reason, count in self.refused.items()
        ]
        found += [f"receiver: {line}" for line in self.unexpected]
        for instruction_id in dict.fromkeys((*statuses, *self.outcomes)):
            status = statuses.get(instruction_id, "not of this run")
            told = list(self.outcomes.get(instruction_id, {}).values())
            if told != [f"instruction.{status}"]:
                found.append(
                    f"instruction {instruction_id}: {status}, and by callback "
                    f"{' and '.join(told) or 'nothing'}"
                )
        return found

    def figures(self) -> Callbacks:
        """What is shown of it."""
        return Callbacks(
            verified=len(self.delays_s),
            repeated=self.repeated,
            refused=self.refused.total(),
            latency=Latency.of(self.delays_s),
        )


@contextmanager
def receiver(api: Api) -> Iterator[Heard]:
    """Run the sample receiver, an endpoint of the client of `api`, for as long as the block.

    Raises: OperatorError if it does not start.
    """
    port = free_port()
    wanted = {"url": f"http://{HOST}:{port}/", "events": _OUTCOMES}
    secret = api.post("/v1/callback-endpoints", wanted)["secret"]
    heard = Heard()
    with (
        tempfile.TemporaryDirectory(prefix="tekana-demo-") as folder,
        subprocess.Popen(
            [sys.executable, _RECEIVER, str(port), f"{folder}/received.db"],
            env=_environment(WEBHOOK_SECRET=secret),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which ends it in order.
        ) as process,
    ):
        reader = threading.Thread(target=heard.listen, args=(process.stdout,), name="receiver")
        reader.start()
        try:
            _await_start(process, port, heard)
            yield heard
        finally:
            process.terminate()
            reader.join()


def _await_start(process: subprocess.Popen[str], port: int, heard: Heard) -> None:
    until = time.monotonic() + _START_S
    while not accepts(port):
        if process.poll() is not None or time.monotonic() > until:
            raise OperatorError(
                "The receiver of callbacks did not start.", detail="\n".join(heard.unexpected)
            )
        time.sleep(_POLL_S)


def _environment(**more: str) -> dict[str, str]:
    # It is not told what Python may import, so that it finds what lies beside it.
    told = ("PYTHONPATH", "PYTHONSAFEPATH")
    inherited = {name: value for name, value in os.environ.items() if name not in told}
    return {**inherited, **more}

"""Shows on stderr what is being measured, and how much of the time is gone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench.clock import Clock

_TICK_S: Final = 0.2


class Steps:
    """One line that moves on a terminal; elsewhere a line for each step that is done."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(f"of at most {clock.limit_s / 60:.0f} min"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=clock.limit_s)

    def __enter__(self) -> "Steps":
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """What is being done within the block."""
        self._progress.update(self._task, description=escape(what), completed=self._clock.passed_s)
        begun = time.monotonic()
        yield
        took_s = time.monotonic() - begun
        if not self._console.is_terminal and took_s > _TICK_S:
            self.say(f"{self._clock.passed_s:6.1f} s  {what}: {took_s:.1f} s")

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(escape(line), highlight=False, soft_wrap=True)

    def report(self, name: str, state: str) -> None:
        """As the services' starting tells it."""
        self._progress.update(
            self._task, description=f"{name} {state}", completed=self._clock.passed_s
        )

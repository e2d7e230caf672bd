"""How far a long step is: a bar on a terminal, a line at its end elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_FIRST_LINE_AFTER_S = 10.0


class Advance(Protocol):
    """Told how many more are done; safe to call from any thread."""

    def __call__(self, count: int = 1) -> None:
        """So many more are done."""


class Steps:
    """Shows steps one after another on a console, which is standard error by default."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)

    @contextmanager
    def step(self, title: str, total: int) -> Iterator[Advance]:
        """One step of `total` things; nothing is shown of a step with nothing to do."""
        begun = time.monotonic()
        if not total:
            yield lambda count=1: None  # noqa: ARG005  Nobody calls it.
            return
        if self._console.is_terminal:
            with self._bar() as bar:
                task = bar.add_task(title, total=total)
                yield lambda count=1: bar.advance(task, count)
            return
        lines = _Lines(self._console, title, total)
        yield lines.advance
        self._console.print(
            f"{title}: {total:,} in {time.monotonic() - begun:.1f} s", highlight=False
        )

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description:<36}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )


class _Lines:
    """Without a terminal: a line every few seconds, so that nobody thinks it hangs."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        self._console, self._title, self._total = console, title, total
        self._done = 0
        self._guard = Lock()
        self._next_s = time.monotonic() + _FIRST_LINE_AFTER_S

    def advance(self, count: int = 1) -> None:
        with self._guard:
            self._done += count
            if time.monotonic() < self._next_s or self._done >= self._total:
                return
            self._next_s = time.monotonic() + _FIRST_LINE_AFTER_S
            done = self._done
        self._console.print(f"{self._title}: {done:,} of {self._total:,}", highlight=False)

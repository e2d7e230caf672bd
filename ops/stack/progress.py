"""Shows on stderr what is being started or stopped."""

import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

_BEGUN = {"starting", "stopping"}


class Steps:
    """A line with a clock for each step; without a terminal one line when a step is done."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._live = console.is_terminal
        self._console = console
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.fields[service]:<12} {task.description}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        if self._live:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._progress.stop()

    def report(self, name: str, state: str) -> None:
        """A step has begun or is done; safe to call from any thread."""
        with self._guard:
            if not self._live:
                if state not in _BEGUN:
                    self._console.print(f"{name} {state}", highlight=False)
                return
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(state, total=1, service=name)
            done = 0 if state in _BEGUN else 1
            self._progress.update(self._tasks[name], description=state, completed=done)

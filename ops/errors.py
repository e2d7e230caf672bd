"""What an operator is told when a command cannot go on."""

from typing import IO, Any

import click


class OperatorError(click.ClickException):
    """A command cannot go on: one line on what happened, one on what to do.

    Click prints it and exits with code 1. `detail` is shown between the two, such as the
    last lines of a service's log.
    """

    def __init__(self, what: str, remedy: str = "", *, detail: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy
        self.detail = detail

    def __str__(self) -> str:
        """All of it: a traceback without the log's last lines would not say why."""
        return self.format_message()

    def format_message(self) -> str:
        """All of it, for places that show a single text."""
        return "\n".join(part for part in (self.message, self.detail, self.remedy) if part)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print to stderr: what happened, the detail indented, what to do."""
        click.echo(f"Error: {self.message}", file=file, err=True)
        for line in self.detail.splitlines():
            click.echo(f"  | {line}", file=file, err=True)
        if self.remedy:
            click.echo(f"What to do: {self.remedy}", file=file, err=True)

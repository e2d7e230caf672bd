"""up, down, status, doctor, env: the private stack of this checkout."""

import shlex
import sys
from contextlib import ExitStack

import click

from ops.errors import OperatorError


@click.command()
@click.option("--services-only", is_flag=True, help="Postgres, RabbitMQ and Redis alone.")
@click.option(
    "--install", is_flag=True, help="Install what is missing with apt (implied without a terminal)."
)
def up(services_only: bool, install: bool) -> None:
    """Start the private stack; what runs already stays as it is."""
    from ops.stack.progress import Steps
    from ops.stack.signals import ending_interrupts
    from ops.stack.stack import Stack

    stack = Stack(install=True if install else None)
    with ExitStack() as context:
        context.enter_context(ending_interrupts())
        steps = context.enter_context(Steps())
        stack.up(steps.report, services_only=services_only)
    _print_addresses({**stack.services.urls(), **stack.client_variables()})


@click.command()
@click.option("--purge", is_flag=True, help="Also remove all data, for good.")
def down(purge: bool) -> None:
    """Stop the private stack; its data stay."""
    from ops.stack.progress import Steps
    from ops.stack.stack import Stack

    stack = Stack()
    with Steps() as steps:
        if purge:
            stack.purge(steps.report)
        else:
            stack.down(steps.report)


@click.command()
def status() -> None:
    """Show what runs; exit code 1 if something that should run does not."""
    from rich.console import Console
    from rich.table import Table

    from ops.stack.stack import Stack

    stack = Stack()
    wanted = stack.wanted()
    if not wanted:
        raise OperatorError("Nothing runs here.", "Start it with ./tekana up")
    table = Table("", "state", "pid", "port", "up since", box=None)
    missing = []
    for part in stack.parts():
        if part.name not in wanted:
            continue
        about = part.describe() if part.running() else {}
        if not about:
            missing.append(part.name)
        state = "[green]up[/]" if about else "[red]down[/]"
        columns = (about.get(key, "") for key in ("pid", "port", "since"))
        table.add_row(part.name, state, *columns)
    Console().print(table)
    if missing:
        raise OperatorError(
            f"Down, but should be up: {', '.join(missing)}.",
            f"Start what is missing with ./tekana up; the logs are in {stack.run.path / 'logs'}",
        )


@click.command()
def env() -> None:
    """Print export lines for the running stack: eval "$(./tekana env)"."""
    from ops.stack.discover import URL_VARIABLES
    from ops.stack.stack import Stack

    stack = Stack()
    settings = stack.variables()
    if not settings or not all(part.running() for part in stack.services.recorded().values()):
        raise OperatorError("Nothing runs here.", "Start it with ./tekana up")
    urls = {name: settings[name] for name in URL_VARIABLES.values()}
    admin = {name: settings[name] for name in ("TEKANA_BROKER_ADMIN_URL",) if name in settings}
    for name, value in {**urls, **admin, **stack.client_variables()}.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@click.command()
def doctor() -> None:
    """Say which Postgres, RabbitMQ and Redis are used, and why."""
    from ops.stack.doctor import findings

    healthy = True
    for finding in findings():
        mark = click.style("ok  ", fg="green") if finding.good else click.style("miss", fg="red")
        click.echo(f"{mark} {finding.subject:<12} {finding.text}")
        for note in finding.notes:
            click.echo(f"     {'':<12} {note}")
        healthy = healthy and finding.good
    if not healthy:
        sys.exit(1)


def _print_addresses(addresses: dict[str, str]) -> None:
    # Not a table of rich: a URL that is shortened to the terminal's width cannot be copied.
    width = max(map(len, addresses))
    for name, value in addresses.items():
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {value}")
    click.echo('In your shell: eval "$(./tekana env)"')

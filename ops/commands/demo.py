"""demo: the main job on real input, checked."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from config.settings import Settings
    from ops.demo.figures import Figures
    from ops.demo.rows import Row
    from ops.stack.stack import Stack

_RATE_PER_S = 100_000
"""So that the partner of a run is held back by nothing but the machine."""


@click.command()
@click.option("--rows", "limit", type=click.IntRange(min=1), help="At most so many rows.")
@click.option(
    "--file",
    "path",
    metavar="CSV",
    type=click.Path(path_type=Path),
    help="A file in PaySim's format instead of the excerpt of 2,000 rows.",
)
@click.option("--keep", is_flag=True, help="Leave the stack running, to look around.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of figures on stdout.")
def demo(limit: int | None, path: Path | None, keep: bool, as_json: bool) -> None:
    """Replay mobile-money traffic over HTTP and check the books against the file.

    Starts the stack if it is not up. Exit code 1 if anything disagrees.
    """
    from rich.console import Console

    from ops.demo import report
    from ops.demo.rows import EXCERPT, read_rows
    from ops.stack.signals import ending_interrupts

    # A file that is no good is told before anything is started.
    path = path or EXCERPT
    rows = read_rows(path, limit)
    console = Console(stderr=as_json)
    with ending_interrupts(), _running_stack(keep) as stack:
        figures = run_demo(stack, rows, path.name)
        report.show(console, figures)
        if keep:
            report.show_addresses(console, stack)
    if as_json:
        click.echo(report.json_line(figures))
    if not figures.agrees:
        sys.exit(1)


@contextmanager
def _running_stack(keep: bool) -> Iterator["Stack"]:
    """The stack, started if need be, and stopped again unless it was up or is to stay."""
    from ops.stack.progress import Steps
    from ops.stack.signals import undisturbed
    from ops.stack.stack import Stack

    stack = Stack()
    was_up = any(part.running() for part in stack.parts())
    with Steps() as steps:
        stack.up(steps.report)
    finished = False
    try:
        yield stack
        finished = True
    finally:
        if not was_up and not (keep and finished):
            with undisturbed(), Steps() as steps:
                stack.down(steps.report)


def run_demo(stack: "Stack", rows: "list[Row]", file_name: str) -> "Figures":
    """Follow the rows as a client of this run alone, whose key ends with it."""
    from config.settings import Settings
    from ops.database import database
    from ops.demo.callbacks import receiver
    from ops.demo.deposits import Bank
    from ops.demo.http import Api
    from ops.demo.progress import Steps
    from ops.demo.run import Run, new_run_id
    from ops.options import login_name
    from storage import clients, endpoints, verify

    run_id = new_run_id()
    name = f"demo-{run_id}"
    who, reason = login_name(), "./tekana demo"
    with ExitStack() as context:
        settings = Settings.from_env(stack.variables())
        engine = context.enter_context(database(settings))
        with engine.begin() as connection:
            scopes = sorted(clients.SCOPES)
            client_id = clients.add_client(connection, name, scopes, who=who, reason=reason)
            key = clients.add_key(connection, name, kind="test", who=who, reason=reason)
        # Not needed for minutes: Postgres may be another process by then.
        engine.dispose()

        def end_client() -> None:
            with engine.begin() as connection:
                for endpoint in endpoints.list_own(engine, client_id, endpoints.ENDPOINTS_MAX):
                    endpoints.delete(connection, client_id, endpoint.id)
                for each in clients.list_keys(engine, name):
                    clients.revoke_key(connection, each.id, who=who, reason=reason)

        context.callback(end_client)
        api = context.enter_context(closing(Api(stack.client_variables()["TEKANA_API_URL"], key)))
        steps = Steps()
        bank = Bank(context.enter_context(_partner(settings, engine, f"{name}-bank")), steps)
        run = Run(run_id, api, bank, steps)
        with receiver(api) as heard:
            figures = run.follow(rows, file_name)
            heard.wait(len(run.statuses), steps)
        figures.callbacks = heard.figures()
        figures.disagreements += heard.differences(run.statuses)
        with steps.step("Verifying the books", 1) as advance:
            verdict = verify.verify(engine)
            advance()
        figures.books_sound = verdict.sound
        figures.disagreements += [f"{each.subject}: {each.fault}" for each in verdict.findings]
        return figures


@contextmanager
def _partner(settings: "Settings", engine: "Engine", name: str) -> Iterator[str]:
    """A partner of this run alone that may pay in, and goes with it; its broker URL."""
    from ops.options import login_name
    from ops.partners import Asked, Provisioning
    from storage import clients

    who, reason = login_name(), "./tekana demo"
    provisioning = Provisioning(settings, engine)
    asked = Asked(name, scopes=["deposits:write"], rate_per_s=_RATE_PER_S, key_kind="test")
    issued = provisioning.add(asked, who=who, reason=reason)
    try:
        yield issued.broker_url or ""  # Of a new partner it is always told.
    finally:
        with engine.begin() as connection:
            for each in clients.list_keys(engine, name):
                clients.revoke_key(connection, each.id, who=who, reason=reason)
        provisioning.remove(name, force=True, who=who, reason=reason)

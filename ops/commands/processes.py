"""One process each, in the foreground, for deployments: what a supervisor starts."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from ops.errors import OperatorError

if TYPE_CHECKING:
    from config.settings import Settings

_COUNT_REMEDY: Final = "Set TEKANA_PARTITIONS to the database's count; run `migrate` if new."


class Partitions(click.ParamType[list[int]]):
    """Partition numbers as an operator writes them: `0-7`, `3`, or `0-3,6`."""

    name = "partitions"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        """The numbers, each once, in order."""
        found: set[int] = set()
        for part in str(value).split(","):
            span = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip(), re.ASCII)
            numbers = range(int(span[1]), int(span[2] or span[1]) + 1) if span else range(0)
            if not numbers:
                self.fail(f"{value!r} is not like 0-7, 3 or 0-3,6", param, ctx)
            found.update(numbers)
        return sorted(found)


@click.command()
def api() -> None:
    """Serve the HTTP API."""
    from api.serve import run

    with _partitions_as_made():
        run(_settings())


@click.group()
def worker() -> None:
    """Run one worker process."""


@worker.command()
@click.option(
    "--partitions",
    "numbers",
    type=Partitions(),
    required=True,
    help="Which partitions to consume, such as 0-7. A second worker for the same is a standby.",
)
def ledger(numbers: list[int]) -> None:
    """Decide instructions: consume partitions and post them to the ledger."""
    from workers.ledger import run_ledger_worker

    settings = _settings()
    if numbers[-1] >= settings.partitions:
        raise click.BadParameter(
            f"there are partitions 0 to {settings.partitions - 1}", param_hint="--partitions"
        )
    with _partitions_as_made():
        run_ledger_worker(settings, numbers)


@worker.command()
def inbox() -> None:
    """Take in what partners publish. A second one is a standby."""
    from workers.partners.inbox import run_inbox_worker

    with _partitions_as_made():
        run_inbox_worker(_settings())


@worker.command()
def callbacks() -> None:
    """Hand events on to endpoints and partners, and deliver callbacks over HTTP."""
    from workers.callbacks.worker import run_callback_worker

    settings = _settings()
    if settings.secret_keys is None:
        raise OperatorError("Callbacks cannot be signed without keys.", "Set TEKANA_SECRET_KEYS.")
    run_callback_worker(settings)


@click.command()
def beat() -> None:
    """Have callback workers look, every second or two, for what was forgotten."""
    from workers.callbacks.beat import run_beat

    run_beat(_settings())


@click.command()
def flower() -> None:
    """Serve Flower, read-only, behind basic authentication."""
    from workers.monitor import run_flower

    settings = _settings()
    if settings.flower_password is None:
        raise OperatorError(
            "Flower does not start without a password.", "Set TEKANA_FLOWER_PASSWORD."
        )
    run_flower(settings)


@click.command()
def migrate() -> None:
    """Bring the database to this release's schema, and declare the broker's queues."""
    from producers.topology import declare
    from storage import schema
    from storage.engine import operator_engine

    settings = _settings()
    with _partitions_as_made():
        schema.migrate(operator_engine(settings), settings.partitions)
    declare(settings.broker_url.get_secret_value(), settings.partitions)
    click.echo("The database and the broker are ready.")


@contextmanager
def _partitions_as_made() -> Iterator[None]:
    """Tell an operator what to do where the database was made with another partition count."""
    from storage.partitions import PartitionCountMismatch

    try:
        yield
    except PartitionCountMismatch as error:
        raise OperatorError(f"{error}.", _COUNT_REMEDY) from None


def _settings() -> "Settings":
    from config.settings import Settings, SettingsError

    try:
        return Settings.from_env()
    except SettingsError as error:
        raise OperatorError("The settings are incomplete.", detail=str(error)) from None

"""What is measured on: services, databases and processes of the bench's own, gone afterwards."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import psycopg2
from sqlalchemy import Engine, text

from bench.books import instructions_count
from config.secret_keys import make_secret_key
from config.settings import DEVELOPMENT_MARK, Settings
from ops.commands.clients import ensure_development_key
from ops.errors import OperatorError
from ops.queues import depths
from ops.stack.application import Api, ApplicationProcess, Flower, Worker
from ops.stack.folder import CHECKOUT
from ops.stack.ports import HOST
from ops.stack.services import Services
from ops.stack.signals import undisturbed
from ops.stack.sweep import claim, sweep
from ops.stack.together import Report, silent, start_all, stop_all
from producers.topology import declare
from storage import schema
from storage.engine import operator_engine

BOOKS: Final = "tekana"
"""The database that most figures share; the service makes it."""

PARTITIONS: Final = 8

_POLL_S: Final = 0.1
_PATIENCE_S: Final = 60.0
"""Without a single further outcome for so long, something is broken."""

Variables = Mapping[str, str]


class BenchProcess(ApplicationProcess):
    """A module of the bench as a process: `python -m module arguments`.

    It is up as `answers` says, or else as soon as it runs.
    """

    def __init__(
        self,
        name: str,
        ground: "Ground",
        arguments: list[str],
        variables: Callable[[], Variables],
        answers: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(name, ground.services.run, arguments, variables)
        self._asked = answers

    def _launch(self) -> None:
        self._process.start(
            [sys.executable, "-P", "-m", *self._arguments],
            environment={**self._variables(), "PYTHONUNBUFFERED": "1"},
            folder=CHECKOUT,
        )
        self._await(self._answers, self.name)

    def _answers(self) -> bool:
        return self.running() and (self._asked is None or self._asked())


class BenchWorker(BenchProcess):
    """A worker of the bench; it is up when it has touched its ready file."""

    def __init__(self, name: str, ground: "Ground", arguments: list[str]) -> None:
        ready_file = ground.folder / f"{name}.ready"

        def variables() -> Variables:
            quiet = {"TEKANA_EVENTS_PER_S": "0", "TEKANA_READY_FILE": str(ready_file)}
            return {**ground.variables(), **quiet}

        super().__init__(name, ground, arguments, variables, ready_file.exists)
        self._ready_file = ready_file

    def _launch(self) -> None:
        self._ready_file.unlink(missing_ok=True)
        super()._launch()


class BenchServer(BenchProcess):
    """One that listens on a port."""

    port_names = ("http",)


class Ground:
    """Private services in a run folder of their own, and the processes that are measured.

    Postgres, RabbitMQ and Redis are set as everywhere in this project: fsync on, commits
    synchronous, quorum queues.
    """

    def __init__(self, folder: Path, services: Services | None = None) -> None:
        """`services` are taken if they run already; whoever started them ends them."""
        self.folder = folder
        # No environment: never the services that somebody works with.
        self.services = services or Services(folder)
        self.api_key = ""
        self.client_id = 0
        self._secret_keys = make_secret_key(f"{DEVELOPMENT_MARK}-bench")

    def claim(self) -> None:
        """Take the folder, and end what a bench that was killed has left in it.

        Raises: OperatorError if another bench is running there.
        """
        sweep(self.folder.parent)
        if (self.folder / "owner.json").exists():
            raise OperatorError(
                f"Another bench is running in {self.folder}.",
                "Wait for it: two at once would measure each other.",
            )
        claim(self.folder)

    def up(self, report: Report = silent) -> None:
        """Start the services, make the schema and the queues, and a client with a key."""
        self.services.up(report)
        settings = self.settings()
        self.client_id, self.api_key = self.make_books(BOOKS)
        declare(settings.broker_url.get_secret_value(), PARTITIONS)

    def purge(self) -> None:
        """End everything and remove it, whatever the state it is in."""
        with undisturbed():
            for record in self.folder.glob("processes/*.json"):
                if record.stem not in ("postgres", "rabbitmq", "redis", "epmd"):
                    ApplicationProcess(record.stem, self.services.run).kill()
            self.services.purge()

    def settings(self, database: str = BOOKS, **overrides: object) -> Settings:
        """The settings of a process on this ground."""
        return Settings.from_env(self._own_variables(database, overrides))

    def make_books(self, database: str) -> tuple[int, str]:
        """Bring a database to our schema; the id and a key of its one client."""
        engine = operator_engine(self.settings(database))
        try:
            schema.migrate(engine, PARTITIONS)
            with engine.begin() as connection:
                key = ensure_development_key(connection)
                client_id = connection.scalar(text("SELECT min(id) FROM clients"))
        finally:
            engine.dispose()
        return int(client_id or 0), key

    def create_database(self, name: str, template: str = "template1") -> None:
        """Make a database, as a copy of another that nobody is using."""
        # Copying files beats writing a copy to the log, for books of any size.
        self.command(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")

    def command(self, statement: str, database: str = BOOKS) -> None:
        """Run one statement that wants no transaction around it."""
        connection = psycopg2.connect(self.database_url(database), connect_timeout=5)
        try:
            connection.autocommit = True
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def settle(self) -> None:
        """Let no sample pay for what the one before left to write."""
        self.command("CHECKPOINT")

    @contextlib.contextmanager
    def operator(self, database: str = BOOKS) -> Iterator[Engine]:
        """An engine whose statements may take their time."""
        engine = operator_engine(self.settings(database))
        try:
            yield engine
        finally:
            engine.dispose()

    def decided_all(self, expected: int) -> int:
        """Wait until the ledger holds so many instructions and no queue any more.

        Returns how many it holds then. Raises: OperatorError if it does not come to that.
        """
        count, known, until = 0, -1, 0.0
        with self.operator() as engine:
            while count < expected or self.waiting():
                count = instructions_count(engine)
                if count > known:
                    known, until = count, time.monotonic() + _PATIENCE_S
                if time.monotonic() > until:
                    raise OperatorError(f"{expected - count:,} instructions were never decided.")
                # Two counts, of Postgres and of the broker, of which nobody tells.
                time.sleep(_POLL_S)
            # What a worker was given and has not acknowledged is in no count of the broker's.
            while count != (now := instructions_count(engine)):
                count = now
                # Settled is what has not grown for so long.
                time.sleep(_POLL_S)
        return count

    def waiting(self) -> int:
        """Instructions in the queues that no worker has been given."""
        found = depths(self.services.broker_url, range(PARTITIONS))
        return sum(depth.messages for depth in found.values())

    def database_url(self, database: str = BOOKS) -> str:
        """`postgresql://…` of one of the databases."""
        return self.services.database_url.rsplit("/", 1)[0] + "/" + database

    def api(self) -> Api:
        """The API."""
        return Api("api", self.services.run, ["api"], lambda: self.variables(api_port="api"))

    def flower(self) -> Flower:
        """Flower."""
        variables = lambda: self.variables(flower_port="flower")  # noqa: E731
        return Flower("flower", self.services.run, ["flower"], variables)

    def worker(self, partitions: str, *, events: bool = True) -> Worker:
        """A ledger worker for these partitions, with or without events for Flower."""
        quiet = {} if events else {"TEKANA_EVENTS_PER_S": "0"}
        arguments = ["worker", "ledger", "--partitions", partitions]
        return self._worker(f"ledger-{partitions}", arguments, quiet)

    def workers(self, *, events: bool = True) -> list[Worker]:
        """Two workers, as `./tekana up` starts them."""
        return [self.worker("0-3", events=events), self.worker("4-7", events=events)]

    def workers_without_outbox(self) -> list[ApplicationProcess]:
        """Two ledger workers that write no events, for Flower or for clients."""
        module = "bench.without_outbox"
        return [BenchWorker(f"untold-{part}", self, [module, part]) for part in ("0-3", "4-7")]

    def inbox(self) -> Worker:
        """A worker for what partners publish."""
        return self._worker("inbox", ["worker", "inbox"])

    def callbacks(self) -> list[Worker]:
        """A callback worker, and the beat that tells it when to look."""
        return [self._worker("callbacks", ["worker", "callbacks"]), self._worker("beat", ["beat"])]

    @contextlib.contextmanager
    def running(self, *processes: ApplicationProcess) -> Iterator[None]:
        """Processes that run within the block and are stopped in order after it."""
        start_all(processes, silent)
        try:
            yield
        finally:
            stop_all(processes, silent)

    def variables(self, **ports: str) -> dict[str, str]:
        """The environment of a process; `ports` names processes by the variable's name."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("TEKANA_") and name not in ("PYTHONPATH", "PYTHONSAFEPATH")
        }
        numbers = {
            f"TEKANA_{variable.upper()}": str(self.services.run.recall(process)["ports"]["http"])
            for variable, process in ports.items()
        }
        own = self._own_variables(BOOKS, {})
        return {**inherited, **own, **numbers, "PYTHONPATH": str(CHECKOUT)}

    def _worker(self, name: str, arguments: list[str], more: Variables | None = None) -> Worker:
        def variables() -> Variables:
            return {
                **self.variables(),
                **(more or {}),
                "TEKANA_READY_FILE": str(made.ready_file),
            }

        made = Worker(name, self.services.run, arguments, variables)
        return made

    def _own_variables(self, database: str, overrides: Mapping[str, object]) -> dict[str, str]:
        return {
            "TEKANA_ENVIRONMENT": "development",
            "TEKANA_DATABASE_URL": self.database_url(database),
            "TEKANA_BROKER_URL": self.services.broker_url,
            "TEKANA_REDIS_URL": self.services.redis_url,
            "TEKANA_PARTITIONS": str(PARTITIONS),
            "TEKANA_API_HOST": HOST,
            "TEKANA_FLOWER_PASSWORD": f"{DEVELOPMENT_MARK}-bench",
            "TEKANA_SECRET_KEYS": self._secret_keys,
            "TEKANA_CALLBACK_ALLOW_LOOPBACK": "true",
            **{f"TEKANA_{name.upper()}": str(value) for name, value in overrides.items()},
        }

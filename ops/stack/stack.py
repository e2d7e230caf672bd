"""The whole stack of a checkout: services, the database's schema, the application."""

import hashlib
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from config.secret_keys import make_secret_key
from config.settings import DEVELOPMENT_MARK
from ops.errors import OperatorError
from ops.stack.application import Api, ApplicationProcess, Flower, Worker
from ops.stack.folder import CHECKOUT, DEFAULT_RUN_FOLDER
from ops.stack.ports import HOST
from ops.stack.service import Service
from ops.stack.services import Services
from ops.stack.signals import undisturbed
from ops.stack.sweep import sweep
from ops.stack.together import Report, silent, start_all, stop_all

_PARTITIONS = 8
_SECTION = "application"
_ADMIN = "TEKANA_BROKER_ADMIN_URL"
FLOWER_USER = "operator"


class Stack:
    """Services and application processes of one run folder, by default the checkout's `.run`."""

    def __init__(
        self,
        run_dir: Path = DEFAULT_RUN_FOLDER,
        *,
        environment: Mapping[str, str] = os.environ,
        install: bool | None = None,
    ) -> None:
        self._given = dict(environment)
        self.services = Services(run_dir, environment=self._given, install=install)
        self.run = self.services.run

    def up(self, report: Report = silent, *, services_only: bool = False) -> None:
        """Start what does not run; a second `up` finds everything there.

        If anything fails, or on Ctrl-C, what this call started is ended. Raises OperatorError,
        KeyboardInterrupt.
        """
        self.run.prepare()
        with self.run.locked():
            before = {service.name for service in self.parts() if service.running()}
            earlier = self.variables()
            self._refuse_other_partitions(before)
            try:
                self.services.up(report)
                self._remember_variables()
                if not services_only:
                    self._start_application(report)
                self.run.remember(_SECTION, wanted=[*self._wanted(services_only)])
            except BaseException:
                with undisturbed():
                    self._end_all_but(before, earlier)
                raise

    def down(self, report: Report = silent) -> None:
        """Stop the application, then the services; data and addresses stay."""
        if not self.run.path.exists():
            return
        with self.run.locked():
            stop_all(self.application(), report)
            self.services.down(report)
            self.run.remember(_SECTION, wanted=None, variables=None)

    def purge(self, report: Report = silent) -> None:
        """Stop all, and remove the run folder with all data for good."""
        if self.run.path.exists():
            with self.run.locked():
                stop_all(self.application(), report)
                sweep(self.run.path)
                self.services.purge()

    def parts(self) -> list[Service]:
        """Every service and process of this stack that is known by its records."""
        return [*self.services.recorded().values(), *self.application()]

    def application(self) -> list[ApplicationProcess]:
        """The API, workers of all partitions, of inboxes and of callbacks, beat and Flower."""
        half = self._partitions() // 2
        ranges = [(0, half - 1), (half, self._partitions() - 1)] if half else [(0, 0)]
        workers = [self._worker(first, last) for first, last in ranges]
        inbox = self._ready_process("inbox", ["worker", "inbox"])
        callbacks = self._ready_process("callbacks", ["worker", "callbacks"])
        beat = self._ready_process("beat", ["beat"])
        return [self._api(), *workers, inbox, callbacks, beat, self._flower()]

    def wanted(self) -> list[str]:
        """The names of what `up` started and `down` has not stopped."""
        found: list[str] = self.run.recall(_SECTION).get("wanted", [])
        return found

    def variables(self) -> dict[str, str]:
        """The TEKANA_* settings of this stack's processes; empty if the stack is not up."""
        found: dict[str, str] = self.run.recall(_SECTION).get("variables", {})
        return found

    def client_variables(self) -> dict[str, str]:
        """What those who call the running application need; empty without it."""
        state = self.run.recall(_SECTION)
        api, flower = self._api(), self._flower()
        if api.name not in self.wanted():
            return {}
        password = state["flower_password"]
        return {
            "TEKANA_API_URL": api.url,
            "TEKANA_API_KEY": state["development_key"],
            "TEKANA_FLOWER_URL": f"http://{FLOWER_USER}:{password}@{HOST}:{flower.port('http')}",
        }

    def _start_application(self, report: Report) -> None:
        processes = self.application()
        if all(process.running() for process in processes):
            return
        for process in processes:
            process.settle_ports()
        report("migrate", "starting")
        self._migrate()
        self._ensure_key()
        report("migrate", "ready")
        start_all(processes, report)

    def _migrate(self) -> None:
        log_path = self.run.path / "logs" / "migrate.log"
        log_path.parent.mkdir(exist_ok=True)
        with log_path.open("wb") as log:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "ops", "migrate"],
                env=self._child_environment(),
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            tail = log_path.read_text(errors="replace").splitlines()[-15:]
            raise OperatorError(
                "The database could not be brought up to date.",
                f"Read {log_path}",
                detail="\n".join(tail),
            )

    def _ensure_key(self) -> None:
        """A development client's key, made once per database: only its hash is stored there."""
        database = hashlib.sha256(self.services.database_url.encode()).hexdigest()
        state = self.run.recall(_SECTION)
        if state.get("development_key") and state.get("key_of_database") == database:
            return
        from config.settings import Settings
        from ops.commands.clients import ensure_development_key
        from storage.engine import operator_engine

        engine = operator_engine(Settings.from_env(self.variables()))
        try:
            with engine.begin() as connection:
                key = ensure_development_key(connection)
        finally:
            engine.dispose()
        self.run.remember(_SECTION, development_key=key, key_of_database=database)

    def _remember_variables(self) -> None:
        """The settings every process of this stack gets, and other commands find."""
        state = self.run.recall(_SECTION)
        password = state.get("flower_password") or f"{DEVELOPMENT_MARK}-{secrets.token_urlsafe(24)}"
        admin_url = self.services.broker_admin_url()
        secret_keys = state.get("secret_keys") or make_secret_key(f"{DEVELOPMENT_MARK}-1")
        settings = {
            "TEKANA_SECRET_KEYS": secret_keys,
            "TEKANA_CALLBACK_ALLOW_LOOPBACK": "true",
            # Settings that the user gives, such as TEKANA_BATCH_SIZE, hold for the processes.
            **{key: value for key, value in self._given.items() if key.startswith("TEKANA_")},
            **self.services.urls(),
            **({_ADMIN: admin_url} if admin_url else {}),
            "TEKANA_ENVIRONMENT": "development",
            "TEKANA_FLOWER_PASSWORD": password,
        }
        from config.settings import Settings, SettingsError

        try:
            Settings.from_env(settings)
        except SettingsError as error:
            raise OperatorError(f"{error}.", "Correct it, or unset it, and try again.") from error
        kept = {"flower_password": password, "secret_keys": secret_keys}
        self.run.remember(_SECTION, **kept, variables=settings)

    def _child_environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in self._given.items() if not _is_ours(key)}
        ports = {
            f"TEKANA_{process.name.upper()}_PORT": str(process.port("http"))
            for process in (self._api(), self._flower())
        }
        return {
            **inherited,
            **self.variables(),
            **ports,
            "TEKANA_API_HOST": HOST,
            "PYTHONPATH": str(CHECKOUT),
        }

    def _api(self) -> Api:
        return Api("api", self.run, ["api"], self._child_environment, wanted_port=self._port("API"))

    def _flower(self) -> Flower:
        port = self._port("FLOWER")
        return Flower("flower", self.run, ["flower"], self._child_environment, wanted_port=port)

    def _worker(self, first: int, last: int) -> Worker:
        partitions = f"{first}-{last}"
        arguments = ["worker", "ledger", "--partitions", partitions]
        return self._ready_process(f"ledger-{partitions}", arguments)

    def _ready_process(self, name: str, arguments: list[str]) -> Worker:
        """A process that says by a file that it is ready."""

        def variables() -> dict[str, str]:
            return {**self._child_environment(), "TEKANA_READY_FILE": str(process.ready_file)}

        process = Worker(name, self.run, arguments, variables)
        return process

    def _port(self, name: str) -> int | None:
        return self._number(f"TEKANA_{name}_PORT")

    def _partitions(self) -> int:
        """As the running stack has them, else as the user wants them, else the default."""
        running = self.variables()
        if running:
            return int(running.get("TEKANA_PARTITIONS", _PARTITIONS))
        return self._number("TEKANA_PARTITIONS") or _PARTITIONS

    def _number(self, variable: str) -> int | None:
        text = self._given.get(variable)
        if not text:
            return None
        if not text.isdecimal():
            raise OperatorError(f"{variable} is not a number.", f"Correct it, or unset {variable}.")
        return int(text)

    def _wanted(self, services_only: bool) -> list[str]:
        application = [] if services_only else [process.name for process in self.application()]
        kept = [name for name in self.wanted() if name not in application]
        return list(dict.fromkeys([*self.services.recorded(), *kept, *application]))

    def _refuse_other_partitions(self, running: set[str]) -> None:
        """Workers are known by their partitions: with another count they could not be found."""
        wanted = self._number("TEKANA_PARTITIONS")
        if wanted in (None, self._partitions()):
            return
        if any(process.name in running for process in self.application()):
            raise OperatorError(
                f"The stack runs with {self._partitions()} partitions, not with {wanted}.",
                "Unset TEKANA_PARTITIONS, or run ./tekana down first.",
            )

    def _end_all_but(self, before: set[str], earlier: Mapping[str, str]) -> None:
        """End what a failed `up` has started; what runs goes by the settings it was given."""
        for part in reversed(self.parts()):
            if part.name not in before and part.running():
                part.kill()
        if before:
            self.run.remember(_SECTION, variables=dict(earlier) or None)
        else:
            self.run.remember(_SECTION, wanted=None, variables=None)


def _is_ours(variable: str) -> bool:
    # What Python is to import is set anew, whatever the caller's Python was told.
    return variable.startswith("TEKANA_") or variable in ("PYTHONPATH", "PYTHONSAFEPATH")

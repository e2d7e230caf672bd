"""Postgres, RabbitMQ and Redis together."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from ops.errors import OperatorError
from ops.stack.compose import ComposeService
from ops.stack.discover import SERVICES, Kind, Route, Search, discover
from ops.stack.external import ExternalService
from ops.stack.folder import RunFolder
from ops.stack.install import install_missing
from ops.stack.postgres import Postgres
from ops.stack.rabbitmq import RabbitMQ
from ops.stack.redis import Redis
from ops.stack.service import Service

Report = Callable[[str, str], None]
"""Told the name of a step and its state: `starting`, `ready`, `failed` …"""


def _silent(name: str, state: str) -> None:
    """Report to nobody."""


class Services:
    """The three services of one run folder. Two run folders are independent of each other.

    `environment` may hold URLs of services that run elsewhere; tests pass none, because they
    kill what they use. `install` says whether missing packages may be installed with apt;
    None means: only if we are root and there is no terminal to ask at.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        environment: Mapping[str, str] | None = None,
        install: bool | None = False,
    ) -> None:
        self.run = RunFolder(run_dir)
        self._environment = dict(environment or {})
        self._install = install
        self._made: dict[str, Service] = {}

    @property
    def postgres(self) -> Postgres:
        """The private Postgres."""
        return self._private("postgres", Postgres)

    @property
    def rabbitmq(self) -> RabbitMQ:
        """The private RabbitMQ."""
        return self._private("rabbitmq", RabbitMQ)

    @property
    def redis(self) -> Redis:
        """The private Redis."""
        return self._private("redis", Redis)

    @property
    def database_url(self) -> str:
        """`postgresql://…`, for TEKANA_DATABASE_URL."""
        return self.all()["postgres"].url

    @property
    def broker_url(self) -> str:
        """`amqp://…`, for TEKANA_BROKER_URL."""
        return self.all()["rabbitmq"].url

    @property
    def redis_url(self) -> str:
        """`redis://…`, for TEKANA_REDIS_URL."""
        return self.all()["redis"].url

    def all(self) -> dict[str, Service]:
        """Each service by its name; raises OperatorError if one cannot be found."""
        if not self._made:
            search = Search(environment=self._environment)
            routes = discover(search)
            if any(route.kind is Kind.MISSING for route in routes.values()):
                install_missing(routes, allowed=self._install)
                routes = discover(search)
            self._made = {name: self._make(routes[name]) for name in SERVICES}
        return self._made

    def up(self, report: Report = _silent) -> "Services":
        """Start what does not run, all at once, and return when everything answers.

        If one fails, or on Ctrl-C, what this call started is stopped again. Raises
        OperatorError, KeyboardInterrupt.
        """
        self.run.prepare()
        services = self.all()
        with self.run.locked():
            started = [one for one in services.values() if not one.running()]
            for service in started:
                service.settle_ports()
            self._start(started, report)
        return self

    def down(self, report: Report = _silent) -> None:
        """Stop all that runs; data and addresses stay."""
        with self.run.locked():
            _together(_stopper(report), self.all().values())

    def purge(self) -> None:
        """Stop all and remove the run folder with all data."""
        for service in self.all().values():
            service.kill()
        self.run.purge()

    def _start(self, services: list[Service], report: Report) -> None:
        def start(service: Service) -> None:
            report(service.name, "starting")
            service.start()
            report(service.name, "ready")

        if not services:
            return
        # In threads, and not only for speed: Ctrl-C is raised in the main thread alone, so a
        # process that has been started is always recorded.
        with ThreadPoolExecutor(len(services)) as pool:
            futures = [pool.submit(start, service) for service in services]
            try:
                _first_failure(futures)
            except BaseException:
                for service in services:
                    service.interrupt()
                wait(futures)
                for service in services:
                    service.kill()
                    report(service.name, "stopped")
                raise

    def _make(self, route: Route) -> Service:
        if route.kind is Kind.ENVIRONMENT and route.url:
            return ExternalService(route.service, route.url)
        if route.kind is Kind.COMPOSE:
            return ComposeService(route.service, self.run)
        if route.programs is None:
            raise OperatorError(f"{route.reason}.")
        private: dict[str, Callable[..., Service]] = {
            "postgres": Postgres,
            "rabbitmq": RabbitMQ,
            "redis": Redis,
        }
        return private[route.service](self.run, route.programs)

    def _private(self, name: str, kind: type[Any]) -> Any:
        service = self.all()[name]
        if not isinstance(service, kind):
            raise OperatorError(f"{name} is not a private service of this stack.")
        return service


def _first_failure(futures: list[Future[None]]) -> None:
    """Wait for all; raise what failed first as soon as it has failed."""
    pending = set(futures)
    while pending:
        # A bounded wait lets the main thread see Ctrl-C on every Python.
        done, pending = wait(pending, timeout=0.1)
        for future in done:
            future.result()


def _stopper(report: Report) -> Callable[[Service], None]:
    def stop(service: Service) -> None:
        report(service.name, "stopping")
        service.stop()
        report(service.name, "stopped")

    return stop


def _together(action: Callable[[Service], None], services: Any) -> None:
    """Do it to all at once; the first failure is raised after all have finished."""
    failures: list[BaseException] = []

    def guarded(service: Service) -> None:
        try:
            action(service)
        except Exception as error:  # noqa: BLE001  Raised below, once the others are done too.
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(service,)) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]

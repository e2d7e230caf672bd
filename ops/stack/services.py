"""Postgres, RabbitMQ and Redis together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self, TypeVar

from ops.errors import OperatorError
from ops.stack.compose import ComposeService
from ops.stack.discover import SERVICES, TITLES, URL_VARIABLES, Kind, Route, Search, discover
from ops.stack.external import ExternalService
from ops.stack.folder import RunFolder
from ops.stack.install import install_missing
from ops.stack.postgres import Postgres
from ops.stack.rabbitmq import RabbitMQ
from ops.stack.redis import Redis
from ops.stack.service import Service
from ops.stack.together import Report, silent, start_all, stop_all

_S = TypeVar("_S", bound=Service)


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
        return self._made["postgres"].url

    @property
    def broker_url(self) -> str:
        """`amqp://…`, for TEKANA_BROKER_URL."""
        return self._made["rabbitmq"].url

    @property
    def redis_url(self) -> str:
        """`redis://…`, for TEKANA_REDIS_URL."""
        return self._made["redis"].url

    def urls(self) -> dict[str, str]:
        """The three TEKANA_*_URL variables of services that are up."""
        return {URL_VARIABLES[name]: service.url for name, service in self._made.items()}

    def broker_admin_url(self) -> str | None:
        """Where the broker that is up is administered; None if that is not known."""
        service = self._made["rabbitmq"]
        if isinstance(service, RabbitMQ | ComposeService):
            return service.management_url
        return self._environment.get("TEKANA_BROKER_ADMIN_URL")

    def routes(self) -> dict[str, Route]:
        """Where each service would come from; looks only, for `doctor`."""
        return discover(Search(environment=self._given()))

    def recorded(self) -> dict[str, Service]:
        """The services that `up` recorded, found without looking for their programs."""
        found = {}
        for name in SERVICES:
            state = self.run.recall(name)
            if "kind" in state:
                route = Route(name, Kind(state["kind"]), "recorded", url=state.get("url"))
                found[name] = self._made.get(name) or self._make(route)
        return found

    def up(self, report: Report = silent) -> Self:
        """Start what does not run, all at once, and return when everything answers.

        If one fails, or on Ctrl-C, what this call started is ended. Raises OperatorError,
        KeyboardInterrupt.
        """
        self.run.prepare()
        with self.run.locked():
            routes = self._found_routes()
            self._refuse_change(routes)
            for name, route in routes.items():
                self.run.remember(name, kind=str(route.kind), url=route.url)
            self._made = {name: self._make(route) for name, route in routes.items()}
            start_all(self._made.values(), report)
        return self

    def down(self, report: Report = silent) -> None:
        """Stop all that runs; data and addresses stay."""
        if self.run.path.exists():
            with self.run.locked():
                stop_all(self.recorded().values(), report)

    def purge(self) -> None:
        """End all and remove the run folder with all data."""
        for service in self.recorded().values():
            service.remove()
        self.run.purge()

    def _found_routes(self) -> dict[str, Route]:
        routes = self.routes()
        if any(route.kind is Kind.MISSING for route in routes.values()):
            install_missing(routes, allowed=self._install)
            routes = self.routes()
        missing = [route for route in routes.values() if route.kind is Kind.MISSING]
        if missing:
            raise OperatorError(". ".join(route.reason for route in missing) + ".")
        return routes

    def _given(self) -> dict[str, str]:
        """The environment without our own addresses, as after `eval "$(./tekana env)"`."""
        ours = {
            name: service.url
            for name, service in self.recorded().items()
            if not isinstance(service, ExternalService) and self.run.recall(name).get("ports")
        }
        own_variables = {
            URL_VARIABLES[name]
            for name, url in ours.items()
            if self._environment.get(URL_VARIABLES[name]) == url
        }
        return {key: value for key, value in self._environment.items() if key not in own_variables}

    def _refuse_change(self, routes: Mapping[str, Route]) -> None:
        """A service that runs by one route is not left behind for another."""
        for name, service in self.recorded().items():
            now = routes[name].kind
            before = self.run.recall(name)["kind"]
            if before != now and before != Kind.ENVIRONMENT and service.running():
                raise OperatorError(
                    f"{TITLES[name]} of this stack runs already ({before}), "
                    f"but now it would come from: {now}.",
                    f"Run ./tekana down first, or unset {URL_VARIABLES[name]}.",
                )

    def _make(self, route: Route) -> Service:
        if route.kind is Kind.ENVIRONMENT:
            return ExternalService(route.service, route.url or "")
        if route.kind is Kind.COMPOSE:
            return ComposeService(route.service, self.run)
        match route.service:
            case "postgres":
                return Postgres(self.run, route.programs)
            case "rabbitmq":
                return RabbitMQ(self.run, route.programs)
            case _:
                return Redis(self.run, route.programs)

    def _private(self, name: str, kind: type[_S]) -> _S:
        service = self._made.get(name)
        if not isinstance(service, kind):
            raise OperatorError(f"{TITLES[name]} is not a private service of this stack.")
        return service

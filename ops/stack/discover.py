"""Which Postgres, RabbitMQ and Redis to use, and why."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

SERVICES = ("postgres", "rabbitmq", "redis")
URL_VARIABLES = {
    "postgres": "TEKANA_DATABASE_URL",
    "rabbitmq": "TEKANA_BROKER_URL",
    "redis": "TEKANA_REDIS_URL",
}
# What our SQL, our queue arguments and our commands need.
OLDEST = {"postgres": (15,), "rabbitmq": (3, 10), "redis": (6,)}
TITLES = {"postgres": "PostgreSQL", "rabbitmq": "RabbitMQ", "redis": "Redis"}


class Kind(StrEnum):
    """Where a service comes from; in the order in which they are tried."""

    ENVIRONMENT = "environment"
    BINARIES = "local binaries"
    COMPOSE = "docker compose"
    MISSING = "missing"


@dataclass(frozen=True)
class Programs:
    """The programs of one service. `has_statistics`: pg_stat_statements can be loaded."""

    version: tuple[int, ...]
    paths: Mapping[str, Path]
    has_statistics: bool = False


@dataclass(frozen=True)
class Route:
    """How one service is had, and for `doctor`: why, and what was passed over on the way."""

    service: str
    kind: Kind
    reason: str
    url: str | None = None
    programs: Programs | None = None
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Search:
    """Where to look. Tests narrow it; by default it is this machine."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    path: str = field(default_factory=lambda: os.environ.get("PATH", os.defpath))
    postgres_root: Path = Path("/usr/lib/postgresql")
    rabbitmq_root: Path = Path("/usr/lib/rabbitmq")

    def which(self, *names: str) -> Path | None:
        """The first of these programs on the path."""
        for name in names:
            found = shutil.which(name, path=self.path)
            if found:
                return Path(found)
        return None

    def each(self, name: str) -> Iterator[Path]:
        """The program in each folder of the path that has it."""
        for folder in self.path.split(os.pathsep):
            found = Path(folder) / name
            if folder and os.access(found, os.X_OK):
                yield found


def discover(search: Search) -> dict[str, Route]:
    """One route per service: a URL given, local binaries, docker compose, or missing."""
    engine: list[str] = []  # Asked at most once, and only if something needs it.
    routes = {}
    for service in SERVICES:
        routes[service] = _given(service, search) or _local(service, search)
        if routes[service].kind is Kind.MISSING:
            engine = engine or [compose_problem(search)]
            routes[service] = _with_compose(routes[service], engine[0])
    return routes


def compose_problem(search: Search) -> str:
    """Why docker compose cannot be used; empty if it can."""
    docker = search.which("docker")
    if docker is None:
        return "docker is not installed"
    if not _succeeds(docker, "info"):
        return f"{docker} is installed, but no engine answers `docker info`"
    if not _succeeds(docker, "compose", "version"):
        return f"{docker} has no compose plugin"
    return ""


def _given(service: str, search: Search) -> Route | None:
    variable = URL_VARIABLES[service]
    url = search.environment.get(variable)
    if not url:
        return None
    return Route(service, Kind.ENVIRONMENT, f"{variable} is set", url=url)


def _local(service: str, search: Search) -> Route:
    finders = {"postgres": _find_postgres, "rabbitmq": _find_rabbitmq, "redis": _find_redis}
    passed_over: list[str] = []
    for programs, place in finders[service](search):
        version = ".".join(map(str, programs.version)) or "of unknown version"
        if programs.version and programs.version < OLDEST[service]:
            needed = ".".join(map(str, OLDEST[service]))
            passed_over.append(
                f"{TITLES[service]} {version} in {place} is too old: {needed} or newer is needed"
            )
            continue
        reason = f"{TITLES[service]} {version} in {place}"
        found = tuple(passed_over)
        return Route(service, Kind.BINARIES, reason, programs=programs, passed_over=found)
    nothing = "; ".join(passed_over) or f"no {TITLES[service]} is installed"
    return Route(service, Kind.MISSING, nothing, passed_over=tuple(passed_over))


def _with_compose(route: Route, problem: str) -> Route:
    if problem:
        return Route(
            route.service, Kind.MISSING, f"{route.reason}; {problem}", passed_over=route.passed_over
        )
    reason = f"{route.reason}; a docker engine answers"
    return Route(route.service, Kind.COMPOSE, reason, passed_over=route.passed_over)


def _find_postgres(search: Search) -> Iterator[tuple[Programs, Path]]:
    """Postgres on the path first, then Debian's, which are not on it; newest first."""
    folders = [server.resolve().parent for server in search.each("postgres")]
    folders += sorted(search.postgres_root.glob("*/bin"), key=_major, reverse=True)
    for folder in dict.fromkeys(folders):
        paths = {name: folder / name for name in ("postgres", "initdb")}
        if not all(os.access(path, os.X_OK) for path in paths.values()):
            continue
        version = _version_of(paths["postgres"])
        library = folder.parent / "lib"
        statistics = any(library.rglob("pg_stat_statements.so")) if library.is_dir() else False
        yield Programs(version, paths, statistics), folder


def _find_rabbitmq(search: Search) -> Iterator[tuple[Programs, Path]]:
    """RabbitMQ's own scripts, never Debian's wrapper, which changes to its own account."""
    erlang, epmd = search.which("erl"), search.which("epmd")
    if erlang is None or epmd is None:
        return
    servers = [search.rabbitmq_root / "bin" / "rabbitmq-server", *search.each("rabbitmq-server")]
    for server in servers:
        real = server.resolve()
        folder = real.parent
        if not (folder / "rabbitmq-env").exists() or not os.access(real, os.X_OK):
            continue
        found = re.search(r"(\d+)\.(\d+)\.(\d+)[^/]*/", f"{folder}/")
        version = tuple(map(int, found.groups())) if found else ()
        paths = {name: folder / name for name in ("rabbitmq-server", "rabbitmqctl")}
        yield Programs(version, {**paths, "epmd": epmd, "erl": erlang}), folder


def _find_redis(search: Search) -> Iterator[tuple[Programs, Path]]:
    for name in ("redis-server", "valkey-server"):
        for server in search.each(name):
            yield Programs(_version_of(server), {"redis-server": server}), server.parent


def _version_of(program: Path) -> tuple[int, ...]:
    """The version a program prints: `postgres (PostgreSQL) 15.9`, `Redis server v=7.0.15 …`."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"(\d+(?:\.\d+)*)", said)
    return tuple(map(int, found.group(1).split("."))) if found else ()


def _major(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdecimal() else 0


def _succeeds(program: Path, *arguments: str) -> bool:
    try:
        done = subprocess.run([program, *arguments], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0

"""The system of docker-compose.yml, run from local programs instead of containers.

Each process has the command and the environment that the real `docker compose` works out for
it; only the addresses of the stores, the ports and the places of files are those of here. Our
processes run from a copy of what deploy/Dockerfile copies into the image, and of nothing else.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import requests
from sqlalchemy import Engine, create_engine

from config.secret_keys import make_secret_key
from ops.stack.discover import Search, discover
from ops.stack.folder import CHECKOUT, RunFolder
from ops.stack.ports import HOST, free_port
from ops.stack.processes import ManagedProcess
from ops.stack.service import plain_environment
from ops.stack.together import silent, start_all
from tests.deploy import tools
from tests.deploy.compose_file import PORTS, resolved, wanted
from tests.deploy.stores import DeployedPostgres, DeployedRabbitMQ, DeployedRedis
from tests.support import wait_until

DOCKERFILE: Final = CHECKOUT / "deploy" / "Dockerfile"
HAPROXY_CFG: Final = CHECKOUT / "deploy" / "haproxy" / "haproxy.cfg"

_STORE_PORTS: Final = {
    "postgres:5432": "sql",
    "rabbitmq:5672": "amqp",
    "rabbitmq:15672": "management",
    "redis:6379": "redis",
}


def copied_folders() -> list[str]:
    """The folders of ours that the image holds."""
    return re.findall(r"^COPY ([a-z]+) \1$", DOCKERFILE.read_text(), re.MULTILINE)


class Deployed:
    """All of it, up to and including a client with a key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run = RunFolder(folder)
        self._run.prepare()
        self.secrets = {
            name: secrets.token_hex(24) for name in wanted() if name.endswith("_PASSWORD")
        }
        names = ("api-1", "api-2", "flower", "haproxy", "partners")
        self.ports: dict[str, int] = {}
        for name in names:
            self.ports[name] = free_port(avoid=self.ports.values())
        given = PORTS | {
            "CERTIFICATE_FILE": str(folder / "haproxy.pem"),
            "SECRET_KEYS": make_secret_key("test-1"),
            "PARTNER_BROKER_URL": f"amqps://{HOST}:{self.ports['partners']}/tekana",
        }
        self.services: dict[str, Any] = resolved(self.secrets | given)["services"]
        found = discover(Search())
        self.postgres = DeployedPostgres(self._run, found["postgres"].programs, self.secrets)
        self.rabbitmq = DeployedRabbitMQ(self._run, found["rabbitmq"].programs, self.secrets)
        self.redis = DeployedRedis(self._run, found["redis"].programs, self.secrets)
        self._processes: dict[str, ManagedProcess] = {}
        self._image = folder / "image"
        self.key = ""

    @property
    def url(self) -> str:
        """Where HAProxy is."""
        return f"https://{HOST}:{self.ports['haproxy']}"

    @property
    def authority(self) -> Path:
        """The certificate to trust."""
        return self.folder / "certificate.pem"

    def up(self) -> None:
        """Start everything in the order that the compose file has."""
        for name in copied_folders():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(CHECKOUT / name, self._image / name, ignore=ignored)
        self._make_certificate()
        start_all([self.postgres, self.rabbitmq, self.redis], silent)
        self.postgres.make_roles()
        self.run("migrate")
        self.postgres.grant()
        for name in ("ledger-low", "ledger-high"):
            self.start(name)
        for name in ("inbox-1", "callbacks-1", "beat", "api-1", "api-2"):
            self.start(name)
        for name in ("ledger-low", "ledger-high", "inbox-1", "callbacks-1", "beat"):
            self.await_ready(name)
        for name in ("api-1", "api-2"):
            self.await_ready(name)
        self.start("ledger-standby")
        self.start_haproxy()
        self.operate("client", "add", "shop", "--all-scopes", "--reason", "test")
        self.key = self.operate("client", "key", "add", "shop", "--reason", "test").split()[-1]
        self.await_ready("ledger-standby")

    def down(self) -> None:
        """End everything, and remove it."""
        for process in reversed(self._processes.values()):
            process.kill()
        for store in (self.redis, self.rabbitmq, self.postgres):
            store.kill()
        (self.folder / "owner.json").unlink(missing_ok=True)
        self._run.purge()

    def start(self, name: str) -> ManagedProcess:
        """Start one of our processes; returns before it is ready."""
        process = self._processes.setdefault(name, ManagedProcess(name, self.folder))
        process.start(
            [sys.executable, "-m", "ops", *self.services[name]["command"]],
            environment=self.environment(name),
            folder=self._image,
        )
        return process

    def run(self, name: str, *arguments: str) -> str:
        """Run a process that ends, and return what it prints to standard output."""
        command = self.services[name].get("command") or []
        done = subprocess.run(
            [sys.executable, "-m", "ops", *command, *arguments],
            cwd=self._image,
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{name} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def operate(self, *arguments: str) -> str:
        """Run an operator's command, as `docker compose run --rm operator` does."""
        return self.run("operator", *arguments)

    def provision(self, *arguments: str) -> str:
        """Run a command that makes users of the broker."""
        return self.run("provisioner", *arguments)

    def environment(self, name: str) -> dict[str, str]:
        """The environment of a service's process, with the addresses of here."""
        given: Mapping[str, str] = self.services[name]["environment"]
        ours = plain_environment(self.folder) | {
            "PYTHONPATH": str(self._image),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        for variable, value in given.items():
            ours[variable] = HOST if variable == "TEKANA_API_HOST" else self._reached_here(value)
        if name.startswith("api"):
            ours["TEKANA_API_PORT"] = str(self.ports[name])
        if name == "flower":
            ours["TEKANA_FLOWER_PORT"] = str(self.ports[name])
        if "TEKANA_READY_FILE" in ours:
            ours["TEKANA_READY_FILE"] = str(self.ready_file(name))
        return ours

    def start_haproxy(self) -> None:
        """HAProxy with the file of the deployment, and the addresses of here."""
        here = {
            "BIND": f"{HOST}:{self.ports['haproxy']}",
            "CERTIFICATE": str(self.folder / "haproxy.pem"),
            "API_1": f"{HOST}:{self.ports['api-1']}",
            "API_2": f"{HOST}:{self.ports['api-2']}",
            "BIND_PARTNERS": f"{HOST}:{self.ports['partners']}",
            "RABBITMQ": f"{HOST}:{self.rabbitmq.port('amqp')}",
        }
        assert here.keys() == self.services["haproxy"]["environment"].keys()
        process = ManagedProcess("haproxy", self.folder)
        self._processes["haproxy"] = process
        process.start(
            [tools.haproxy(), "-f", HAPROXY_CFG],
            environment=plain_environment(self.folder) | here,
            folder=self.folder,
        )
        wait_until(self._haproxy_answers, 10, what="HAProxy")

    def process(self, name: str) -> ManagedProcess:
        """One of the processes that were started."""
        return self._processes[name]

    def started(self) -> list[str]:
        """The names of the processes that were started."""
        return list(self._processes)

    def await_ready(self, name: str) -> None:
        """Wait for a process of ours; if it is not ready in time, fail with its last lines."""
        try:
            wait_until(lambda: self._is_ready(name), 60, what=name)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process(name).log_tail(40)}") from None

    def ready_file(self, name: str) -> Path:
        """What a worker touches once it consumes."""
        return self.folder / f"{name}.ready"

    def session(self) -> requests.Session:
        """A client of HAProxy's, with the shop's key, that keeps its connection."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.authority)
        session.headers["Authorization"] = f"Bearer {self.key}"
        return session

    def as_role(self, role: str) -> Engine:
        """Postgres as one of the login roles: `tekana_api` with the API's password, and so on."""
        password = self.secrets[f"{role.removeprefix('tekana_').upper()}_PASSWORD"]
        url = self.postgres.url_of(role, password)
        return create_engine(url.replace("postgresql:", "postgresql+psycopg2:", 1))

    def _reached_here(self, url: str) -> str:
        """The address of a store in the compose file's network, as it is reached from here."""
        for inside, port in _STORE_PORTS.items():
            store = getattr(self, inside.split(":")[0])
            url = url.replace(f"@{inside}/", f"@{HOST}:{store.port(port)}/")
        return url

    def _is_ready(self, name: str) -> bool:
        assert self.process(name).running(), f"{name} ended"
        if name not in self.ports:
            return self.ready_file(name).exists()
        try:
            # As HAProxy asks.
            url = f"http://{HOST}:{self.ports[name]}/v1/health/ready"
            return requests.get(url, timeout=3).status_code == 200
        except requests.RequestException:
            return False

    def _haproxy_answers(self) -> bool:
        try:
            return self.session().get(f"{self.url}/v1/health/live", timeout=3).ok
        except requests.RequestException:
            assert self.process("haproxy").running(), self.process("haproxy").log_tail(40)
            return False

    def _make_certificate(self) -> None:
        key, both = self.folder / "key.pem", self.folder / "haproxy.pem"
        made = [tools.openssl(), "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        made += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=tekana"]
        made += ["-addext", f"subjectAltName=IP:{HOST}"]
        subprocess.run(
            [*made, "-keyout", key, "-out", self.authority],
            check=True,
            capture_output=True,
            env=plain_environment(self.folder),
        )
        both.write_text(self.authority.read_text() + key.read_text())
        both.chmod(0o600)


def here_and_claimed(parent: Path) -> Path:
    """A folder of this process that the next test run sweeps away if this one is killed."""
    return parent / f"test-{os.getpid()}-deployed"

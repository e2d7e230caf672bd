"""Postgres, RabbitMQ and Redis with the settings that docker-compose.yml gives their containers.

They run from local programs, as the launcher's private services do, whose addresses, ports
and folders they keep. Everything else is read from deploy/.
"""

import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from amqp import AMQPError, Connection

from ops.stack.accounts import Account, give, service_account
from ops.stack.discover import Programs
from ops.stack.folder import CHECKOUT, RunFolder
from ops.stack.ports import HOST
from ops.stack.postgres import Postgres
from ops.stack.rabbitmq import RabbitMQ
from ops.stack.redis import Redis
from ops.stack.service import plain_environment, quietly
from tests.deploy import tools

DEPLOY: Final = CHECKOUT / "deploy"

_OWN_PORTS: Final = """
listeners.tcp.local = {host}:{amqp}
management.tcp.ip = {host}
management.tcp.port = {management}
prometheus.tcp.ip = {host}
prometheus.tcp.port = {prometheus}
"""


class DeployedPostgres(Postgres):
    """With deploy/postgres/postgresql.conf as its settings file, and the roles of roles.sql."""

    def __init__(
        self, run: RunFolder, programs: Programs | None, passwords: Mapping[str, str]
    ) -> None:
        super().__init__(run, programs)
        self._passwords = passwords

    def make_roles(self) -> None:
        """What the image does when it has made its data, and whoever changed a password."""
        self.psql(self.url, DEPLOY / "postgres" / "roles.sql", self._passwords)

    def grant(self) -> None:
        """What the service `grants` does after each migration."""
        owner = self.url_of("tekana_owner", self._passwords["OWNER_PASSWORD"])
        self.psql(owner, DEPLOY / "postgres" / "grants.sql", {})

    def psql(self, url: str, script: Path, variables: Mapping[str, str]) -> None:
        """Run a script as Postgres's own client does."""
        done = subprocess.run(
            [tools.psql(), "--no-psqlrc", "--quiet", "--file", script, url],
            env=plain_environment(Path("/")) | dict(variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def url_of(self, role: str, password: str) -> str:
        """Where a role connects."""
        return f"postgresql://{role}:{password}@{HOST}:{self.port('sql')}/tekana"

    def _configure(self, account: Account | None) -> None:
        # The private Postgres's own settings are included behind it, and so its ports hold.
        settings = (DEPLOY / "postgres" / "postgresql.conf").read_text()
        (self.folder / "postgresql.conf").write_text(settings)
        super()._configure(account)


class DeployedRabbitMQ(RabbitMQ):
    """With the settings, plugins and definitions of deploy/rabbitmq."""

    def __init__(
        self, run: RunFolder, programs: Programs | None, passwords: Mapping[str, str]
    ) -> None:
        super().__init__(run, programs)
        self._passwords = passwords

    def _prepare(self, account: Account | None) -> None:
        super()._prepare(account)
        definitions = self._home() / "definitions.json"
        filled_in(DEPLOY / "rabbitmq" / "definitions.json", definitions, self._passwords)
        settings = (DEPLOY / "rabbitmq" / "rabbitmq.conf").read_text()
        settings = _with(settings, "/run/tekana/definitions.json", str(definitions))
        # A developer's disk may be fuller than a server's ever should be.
        settings = _with(
            settings, "disk_free_limit.absolute = 2GB", "disk_free_limit.absolute = 50MB"
        )
        ports = {name: self.port(name) for name in ("amqp", "management", "prometheus")}
        (self._home() / "rabbitmq.conf").write_text(
            settings + _OWN_PORTS.format(host=HOST, **ports)
        )
        shutil.copy(DEPLOY / "rabbitmq" / "enabled_plugins", self._home() / "enabled_plugins")
        give(definitions, account, 0o600)

    def _answers(self) -> bool:
        def connect() -> None:
            self.connect("tekana_owner", self._passwords["OWNER_PASSWORD"]).close()

        return quietly(connect, AMQPError, OSError)

    def connect(self, user: str, password: str) -> Connection:
        """An open connection."""
        connection = Connection(
            f"{HOST}:{self.port('amqp')}",
            userid=user,
            password=password,
            virtual_host="tekana",
            connect_timeout=3,
        )
        connection.connect()
        return connection


class DeployedRedis(Redis):
    """With the settings and the access list of deploy/redis, started through fill-in.sh."""

    def __init__(
        self, run: RunFolder, programs: Programs | None, passwords: Mapping[str, str]
    ) -> None:
        super().__init__(run, programs)
        self._passwords = passwords

    def _launch(self) -> None:
        account = service_account("redis")
        home = self._run.data() / self.name
        home.mkdir(parents=True, exist_ok=True)
        give(home, account, 0o700)
        settings = (DEPLOY / "redis" / "redis.conf").read_text()
        settings = _with(settings, "/run/tekana/users.acl", str(home / "users.acl"))
        own = f"bind {HOST}\nport {self.port('redis')}\ndir {home}\ndaemonize no\n"
        (home / "redis.conf").write_text(settings + own)
        # The account may not reach the checkout.
        for source in (DEPLOY / "fill-in.sh", DEPLOY / "redis" / "users.acl"):
            shutil.copy(source, home / f"{source.name}.in")
        for file in home.iterdir():
            give(file, account, 0o600)
        command: list[str | Path] = [
            "sh",
            home / "fill-in.sh.in",
            home / "users.acl.in",
            home / "users.acl",
        ]
        self._process.start(
            [*command, self.programs.paths["redis-server"], home / "redis.conf"],
            environment=plain_environment(home) | dict(self._passwords),
            folder=home,
            account=account,
        )
        self._await(self._answers, "Redis")

    def _answers(self) -> bool:
        def ping() -> None:
            # As the container's health check does.
            with socket.create_connection((HOST, self.port("redis")), timeout=2) as connection:
                connection.sendall(b"AUTH health none\r\n")
                connection.recv(64)
                connection.sendall(b"PING\r\n")
                if connection.recv(64) != b"+PONG\r\n":
                    raise ConnectionError

        return quietly(ping, OSError)


def filled_in(template: Path, file: Path, variables: Mapping[str, str]) -> None:
    """Fill a template in as the containers do. Raises CalledProcessError with what it said."""
    subprocess.run(
        ["sh", DEPLOY / "fill-in.sh", template, file, "true"],
        env=plain_environment(Path("/")) | dict(variables),
        capture_output=True,
        text=True,
        check=True,
    )


def _with(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old} is not in the settings once"
    return text.replace(old, new)

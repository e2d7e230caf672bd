"""A service run by docker compose, where an engine answers."""

import os
import secrets
import subprocess
from pathlib import Path

from config.settings import DEVELOPMENT_MARK
from ops.errors import OperatorError
from ops.stack.folder import CHECKOUT, RunFolder
from ops.stack.ports import HOST, free_port, is_free
from ops.stack.service import Service

COMPOSE_FILE = CHECKOUT / "deploy" / "services.compose.yml"
_URLS = {
    "postgres": "postgresql://tekana:{password}@{host}:{port}/tekana",
    "rabbitmq": "amqp://tekana:{password}@{host}:{port}/tekana",
    "redis": "redis://:{password}@{host}:{port}/0",
}
_PORTS = {
    "postgres": ("container",),
    "rabbitmq": ("container", "management"),
    "redis": ("container",),
}


class ComposeService(Service):
    """One service of `deploy/services.compose.yml`, in a compose project of this run folder."""

    def __init__(self, name: str, run: RunFolder) -> None:
        self.name = name  # type: ignore[misc]  # One class stands for any of the three.
        self._run = run

    @property
    def url(self) -> str:
        """As for a private service: 127.0.0.1, a port and a password of our own."""
        return _URLS[self.name].format(password=self._password(), host=HOST, port=self._port())

    @property
    def management_url(self) -> str | None:
        """RabbitMQ's management API, for the same user: `http://user:password@…`.

        None in a container that an earlier release started.
        """
        port = self._run.recall(self.name)["ports"].get("management")
        return port and f"http://tekana:{self._password()}@{HOST}:{port}"

    @property
    def log_path(self) -> Path:
        """A copy of the container's log, made when it failed to start."""
        return self._run.path / "logs" / f"{self.name}.log"

    def start(self) -> None:
        """Start the container and wait until its health check passes. Raises OperatorError."""
        if self.running():
            return
        self.settle_ports()
        try:
            self._compose("up", "--detach", "--wait", self.name)
        except BaseException:
            self._keep_log()
            self.kill()
            raise

    def settle_ports(self) -> None:
        """Choose ports, or others if somebody else took one while the service was down."""
        if self.running():
            return
        recorded = self._run.recall(self.name).get("ports", {})
        names = _PORTS[self.name]
        if recorded.keys() >= set(names) and all(map(is_free, recorded.values())):
            return
        chosen: dict[str, int] = {}
        for name in names:
            chosen[name] = free_port(avoid=chosen.values())
        self._run.remember(self.name, ports=chosen)

    def interrupt(self) -> None:
        """Compose gives up by itself after the health check's retries."""

    def stop(self) -> None:
        """Stop the container; its volume stays."""
        self._compose("stop", self.name)

    def kill(self) -> None:
        """SIGKILL to the container."""
        if self.running():
            self._compose("kill", self.name)

    def pause(self) -> None:
        """Freeze the container."""
        self._compose("pause", self.name)

    def resume(self) -> None:
        """Let the container go on."""
        self._compose("unpause", self.name)

    def running(self) -> bool:
        """Whether compose counts the container among the running ones."""
        if not self._run.recall(self.name).get("ports"):
            return False
        listed = self._compose("ps", "--services", "--status", "running")
        return self.name in listed.split()

    def remove(self) -> None:
        """Remove the container and its volume for good."""
        self._compose("rm", "--stop", "--force", "--volumes", self.name)

    def describe(self) -> dict[str, str]:
        """The port; the process is the engine's."""
        return {"pid": "container", "port": str(self._port())} if self.running() else {}

    def _compose(self, *arguments: str) -> str:
        command = ["docker", "compose", "--project-name", f"tekana-{self._run.digest()}"]
        command += ["--file", str(COMPOSE_FILE), *arguments]
        done = subprocess.run(
            command, env=self._variables(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise OperatorError(
                f"docker compose {arguments[0]} {self.name} failed.",
                "Try another route: unset DOCKER_HOST, or install the service itself.",
                detail="\n".join(done.stderr.splitlines()[-15:]),
            )
        return done.stdout

    def _variables(self) -> dict[str, str]:
        """All services' passwords and ports: compose reads the whole file for each command."""
        given = dict(os.environ)
        for name in _URLS:
            state = self._run.recall(name)
            given[f"{name.upper()}_PASSWORD"] = state.get("password", "unused")
            ports = state.get("ports", {})
            given[f"{name.upper()}_PORT"] = str(ports.get("container", 0))
            given[f"{name.upper()}_MANAGEMENT_PORT"] = str(ports.get("management", 0))
        given[f"{self.name.upper()}_PASSWORD"] = self._password()
        return given

    def _keep_log(self) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.log_path.write_text(self._compose("logs", "--tail", "100", self.name))
        except OperatorError:
            return  # The failure that brought us here says more.

    def _port(self) -> int:
        found: int = self._run.recall(self.name)["ports"]["container"]
        return found

    def _password(self) -> str:
        found: str | None = self._run.recall(self.name).get("password")
        if found is None:
            found = f"{DEVELOPMENT_MARK}-{secrets.token_urlsafe(24)}"
            self._run.remember(self.name, password=found)
        return found

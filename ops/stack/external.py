"""A service that runs elsewhere, named by a URL in the environment."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

from ops.errors import OperatorError
from ops.stack.discover import TITLES, URL_VARIABLES
from ops.stack.service import Service

_DEFAULT_PORTS = {"postgres": 5432, "rabbitmq": 5672, "redis": 6379}


class ExternalService(Service):
    """Used as it is: never started, never stopped."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name  # type: ignore[misc]  # One class stands for any of the three.
        self._url = url

    @property
    def url(self) -> str:
        """The URL as it was given."""
        return self._url

    @property
    def log_path(self) -> Path:
        """There is no log of ours."""
        raise self._not_ours("has no log here")

    def start(self) -> None:
        """Check that it can be reached. Raises OperatorError."""
        variable = URL_VARIABLES[self.name]
        if not self.running():
            raise OperatorError(
                f"{TITLES[self.name]} does not answer at the address in {variable}.",
                f"Start it, or unset {variable} to have a private one.",
            )

    def stop(self) -> None:
        """Not ours to stop."""

    def kill(self) -> None:
        """Not ours to kill."""

    def pause(self) -> None:
        """Not ours to pause."""
        raise self._not_ours("cannot be paused")

    def resume(self) -> None:
        """Not ours to resume."""
        raise self._not_ours("cannot be resumed")

    def settle_ports(self) -> None:
        """The URL names the port."""

    def interrupt(self) -> None:
        """A start takes no longer than a connection."""

    def running(self) -> bool:
        """Whether its port accepts a connection."""
        parts = urlsplit(self._url)
        address = (parts.hostname or "localhost", parts.port or _DEFAULT_PORTS[self.name])
        try:
            with socket.create_connection(address, timeout=3):
                return True
        except OSError:
            return False

    def describe(self) -> dict[str, str]:
        """Host and port of the URL."""
        parts = urlsplit(self._url)
        return {"pid": "elsewhere", "port": f"{parts.hostname}:{parts.port or 'default'}"}

    def _not_ours(self, what: str) -> OperatorError:
        return OperatorError(f"{TITLES[self.name]} comes from the environment and {what}.")

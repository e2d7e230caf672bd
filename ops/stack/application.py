"""The application's own processes as part of a stack."""

import http.client
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ops.errors import OperatorError
from ops.stack.folder import CHECKOUT, RunFolder
from ops.stack.ports import HOST, accepts, is_free
from ops.stack.service import PrivateService


class ApplicationProcess(PrivateService):
    """One `python -m ops …` of this stack: the API, a worker or Flower.

    It runs as the caller, who alone is sure to reach the checkout.
    """

    def __init__(
        self,
        name: str,
        run: RunFolder,
        arguments: Sequence[str] = (),
        variables: Callable[[], Mapping[str, str]] = dict,
        *,
        wanted_port: int | None = None,
    ) -> None:
        """`variables` is asked on each start; `wanted_port` must then be free."""
        self.name = name  # type: ignore[misc]  # One class stands for all of them.
        super().__init__(run, None)
        self._arguments = list(arguments)
        self._variables = variables
        self._wanted_port = wanted_port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`, for those that listen."""
        return f"http://{HOST}:{self.port('http')}"

    def settle_ports(self) -> None:
        """As for every service, unless the user wants a certain port."""
        if self._wanted_port is None or self.running():
            super().settle_ports()
            return
        if not is_free(self._wanted_port):
            variable = f"TEKANA_{self.name.upper()}_PORT"
            raise OperatorError(
                f"Port {self._wanted_port} on {HOST}, which {variable} names, is taken.",
                f"Stop what uses it, or unset {variable} to have a free one chosen.",
            )
        self._run.remember(self.name, ports={"http": self._wanted_port})

    def stop(self) -> None:
        """SIGTERM; the process finishes what it has begun."""
        self._process.stop(timeout_s=30.0)

    def _launch(self) -> None:
        self._process.start(
            [sys.executable, "-P", "-m", "ops", *self._arguments],
            environment={**self._variables(), "PYTHONUNBUFFERED": "1"},
            folder=CHECKOUT,
        )
        self._await(self._answers, self.name)

    def _answers(self) -> bool:
        return self.running()


class Api(ApplicationProcess):
    """The HTTP API; it is up when it says that it is ready."""

    port_names: ClassVar[tuple[str, ...]] = ("http",)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port("http"), timeout=5)
        try:
            connection.request("GET", "/v1/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Worker(ApplicationProcess):
    """A worker, or beat; it is up when it has touched its ready file."""

    @property
    def ready_file(self) -> Path:
        """The file that the process touches once it works."""
        return self._run.path / "ready" / self.name

    def _launch(self) -> None:
        self.ready_file.parent.mkdir(exist_ok=True)
        self.ready_file.unlink(missing_ok=True)
        super()._launch()

    def _answers(self) -> bool:
        return self.ready_file.exists()


class Flower(ApplicationProcess):
    """Flower; it is up when its port accepts a connection."""

    port_names: ClassVar[tuple[str, ...]] = ("http",)

    def _answers(self) -> bool:
        return accepts(self.port("http"))

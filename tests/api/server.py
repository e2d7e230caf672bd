"""The API as a process of its own, and a wire to it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from config.settings import Settings
from ops.stack.ports import free_port
from tests.support import wait_until

ROOT = Path(__file__).parents[2]


class Server:
    """`python -m ops api`, ready."""

    def __init__(self, settings: Settings, folder: Path, **overrides: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = folder / f"api-{self.port}.log"
        variables = {
            f"TEKANA_{name.upper()}": str(getattr(value, "get_secret_value", lambda: value)())
            for name in Settings.model_fields
            if (value := getattr(settings, name)) is not None
        }
        variables |= {f"TEKANA_{name.upper()}": str(value) for name, value in overrides.items()}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TEKANA_")}
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ops", "api"],
                cwd=ROOT,
                env=inherited | variables | {"TEKANA_API_PORT": str(self.port)},
                stdout=log,
                stderr=log,
            )
        wait_until(self._ready, 30, what="the API to be ready")

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log_file.read_text()
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/v1/health/ready", timeout=5).status_code == 200
        return False

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def wire(self) -> Iterator[socket.socket]:
        """A connection for bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as wire:
            yield wire

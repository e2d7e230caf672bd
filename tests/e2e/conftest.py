"""The whole system as processes: the API, ledger workers, and the real services behind them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ops.stack.ports import free_port
from ops.stack.services import Services
from storage.clients import add_key
from tests.support import wait_until
from tests.workers.house import ROOT, House, environment


class Whole(House):
    """A house with a front door: one API process, and a key of its client."""

    def __init__(self, services: Services, folder: Path) -> None:
        super().__init__(services, folder, api_port=free_port())
        self.url = f"http://127.0.0.1:{self.settings.api_port}"
        with self.engine.begin() as connection:
            self.key = add_key(connection, "tests", kind="test", who="tests", reason="tests")
        with (folder / "api.log").open("wb") as log:
            self.api = subprocess.Popen(
                [sys.executable, "-m", "ops", "api"],
                cwd=ROOT,
                env=environment(self.settings),
                stdout=log,
                stderr=log,
            )
        wait_until(self.api_ready, 30, what="the API to be ready")

    def api_ready(self) -> bool:
        assert self.api.poll() is None, (self.folder / "api.log").read_text()
        try:
            return requests.get(f"{self.url}/v1/health/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def session(self) -> requests.Session:
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {self.key}"
        return session

    def post(
        self,
        path: str,
        key: str,
        body: dict[str, Any],
        wait_s: int = 0,
        session: requests.Session | None = None,
    ) -> requests.Response:
        headers = {"Idempotency-Key": key}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        return (session or self.session()).post(
            f"{self.url}/v1/{path}", json=body, headers=headers, timeout=40
        )

    def poll(self, instruction_id: str, wait_s: int = 0) -> requests.Response:
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        return self.session().get(
            f"{self.url}/v1/instructions/{instruction_id}", headers=headers, timeout=40
        )

    def close(self) -> None:
        self.api.terminate()
        self.api.wait(20)
        super().close()


@pytest.fixture
def whole(services: Services, tmp_path: Path) -> Iterator[Whole]:
    house = Whole(services, tmp_path)
    yield house
    house.close()

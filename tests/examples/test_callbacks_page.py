"""`docs/callbacks.md` from its first command to a verified event, against a running stack."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

from ops.stack.folder import CHECKOUT
from ops.stack.ports import free_port
from tests.support import wait_until

PAGE = (CHECKOUT / "docs" / "callbacks.md").read_text()
FIRST, *_, LAST = re.findall(r"```bash\n((?!#!).*?)```", PAGE, re.DOTALL)


def events(path: Path) -> list[dict[str, Any]]:
    """What the receiver printed, among all the rest."""
    return [json.loads(line) for line in re.findall(r'{"received_at.*', path.read_text())]


def test_the_commands_of_the_page_lead_to_a_verified_event(stack, tmp_path):
    commands = FIRST.replace("8090", str(free_port())).replace(".run/", f"{tmp_path}/")
    commands = "\n".join(line for line in commands.splitlines() if not line.startswith("eval"))
    environment = {**os.environ, **stack.variables(), **stack.client_variables()}
    said = tmp_path / "said"

    with said.open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", f"{commands}\n{LAST}\nwait"],
            cwd=CHECKOUT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until(lambda: events(said), timeout_s=60, what="an event")
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()

    [event] = events(said)
    assert event["new"] is True
    assert event["type"] == "instruction.succeeded"
    assert event["data"]["idempotency_key"] == "callbacks-1"
    assert "name" not in event["data"]["data"]

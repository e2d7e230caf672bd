"""`docs/partners.md` from its first command to an outcome, against a running stack."""

import os
import re
import subprocess
import sys

import pytest

from config.settings import Settings
from ops.partners import Asked, Provisioning
from ops.stack.folder import CHECKOUT
from ops.stack.stack import Stack
from producers import partner as kit
from storage.engine import operator_engine

PAGE = (CHECKOUT / "docs" / "partners.md").read_text()
OPERATOR, PARTNER = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
[SNIPPET] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_commands_of_the_page_lead_to_an_outcome_and_again_to_the_same(stack: Stack) -> None:
    # The stack is up, and the Python that runs this has pika.
    operator = "\n".join(line for line in OPERATOR.splitlines() if not line.endswith("tekana up"))
    folder, *steps = PARTNER.splitlines()
    steps = [line for line in steps if "pip install" not in line]
    [*_, deposit] = steps
    script = "\n".join([operator, folder, *steps, deposit])
    assert script.count("instruct.py") == 5

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("bin/python", sys.executable)],
        cwd=CHECKOUT,
        env={**os.environ, **stack.variables()},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    said = [line.split(" ", 1) for line in done.stdout.splitlines()]
    outcomes = [data for kind, data in said if kind == "instruction.succeeded"]
    assert len(outcomes) == 4
    assert outcomes[3] == outcomes[2]
    assert '"balance": 25000' in outcomes[3]
    assert {kind for kind, _ in said} <= {
        "instruction.accepted",
        "instruction.succeeded",
        "entry.posted",
    }


def test_the_kit_is_used_as_the_page_shows(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.from_env(stack.variables())
    engine = operator_engine(settings)
    asked = Asked("page", scopes=["deposits:write"])
    issued = Provisioning(settings, engine).add(asked, who="tests", reason="tests")
    engine.dispose()
    remembered: list[str] = []

    def remember(event_id: str, event_type: str, data: dict[str, object]) -> None:
        remembered.append(event_type)
        if event_type == "instruction.rejected":
            raise StopAsyncIteration  # The page's loop has no end of its own.

    monkeypatch.setitem(sys.modules, "partner", kit)
    unknown = "0d000000-0000-4000-8000-00000000000d"
    with pytest.raises(StopAsyncIteration):
        exec(SNIPPET, {"broker_url": issued.broker_url, "wallet": unknown, "remember": remember})

    assert remembered == ["instruction.accepted", "instruction.rejected"]

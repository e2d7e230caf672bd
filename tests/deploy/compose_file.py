"""docker-compose.yml as the real `docker compose` understands it."""

import functools
import json
import os
import subprocess
from typing import Any, Final

from config.secret_keys import make_secret_key
from ops.stack.folder import CHECKOUT
from tests.deploy import tools

EXAMPLE: Final = CHECKOUT / ".env.example"

OURS: Final = (
    "api-1",
    "api-2",
    "ledger-low",
    "ledger-high",
    "ledger-standby",
    "inbox-1",
    "inbox-2",
    "callbacks-1",
    "callbacks-2",
    "beat",
    "flower",
)
"""The services that run our image for as long as the system is up."""

ENDING: Final = ("migrate", "grants", "operator", "provisioner")
"""The services that do something once and end."""


PORTS: Final = {
    "PUBLIC_PORT": "443",
    "PARTNER_PORT": "5671",
    "PARTNER_BROKER_URL": "amqps://tekana.example:5671/tekana",
}
"""Variables that are no names or passwords, and what they may be."""


def wanted() -> list[str]:
    """The variables that .env.example asks for, all of them empty there."""
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and line[0] != "#"]
    assert all(line.endswith("=") for line in lines), "an example must not hold a value"
    return [line.removesuffix("=") for line in lines]


def config(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `docker compose config` says of the file, given these variables and no others."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    command = [*tools.compose(), "--env-file", os.devnull, "--profile", "operator", "config"]
    return subprocess.run(
        [*command, *arguments],
        cwd=CHECKOUT,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def resolved(variables: dict[str, str]) -> dict[str, Any]:
    """The whole file with its variables filled in."""
    done = config(variables, "--format", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@functools.cache
def filled_in() -> dict[str, Any]:
    """The file with each variable holding its own name, but for the port and the keys."""
    names = {name: name.lower() for name in wanted()}
    return resolved(names | PORTS | {"SECRET_KEYS": make_secret_key("secret-keys")})


def services() -> dict[str, dict[str, Any]]:
    """The services by name."""
    found: dict[str, dict[str, Any]] = filled_in()["services"]
    return found

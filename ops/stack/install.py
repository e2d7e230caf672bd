"""Install missing services with apt, and keep the packages from starting their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ops.errors import OperatorError
from ops.stack.discover import Kind, Route

PACKAGES = {"postgres": "postgresql", "rabbitmq": "rabbitmq-server", "redis": "redis-server"}
POLICY = Path("/usr/sbin/policy-rc.d")
_MARK = "# Put here by ./tekana while it installs packages; safe to remove."


def install_missing(routes: Mapping[str, Route], *, allowed: bool | None) -> None:
    """Install the packages of the missing services.

    `allowed` None means: only where there is no terminal. Raises OperatorError with the exact
    line to run if we may not, or if apt fails.
    """
    if allowed is None:
        allowed = not sys.stdin.isatty()
    if not allowed or os.geteuid() != 0 or shutil.which("apt-get") is None:
        reasons = ". ".join(route.reason for route in _missing(routes))
        raise OperatorError(f"{reasons}.", advice(routes))
    install_packages(*_packages(routes))


def install_packages(*packages: str) -> None:
    """Install packages with apt. Raises OperatorError if we are not root, or if apt fails."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        names = " ".join(packages)
        line = f"apt-get update && apt-get install -y --no-install-recommends {names}"
        raise OperatorError(f"{names} is missing.", f"Run as root: {line}")
    print(f"Installing {', '.join(packages)} with apt …", file=sys.stderr, flush=True)
    with services_held_back(POLICY):
        _apt_get("update")
        _apt_get("install", "-y", "--no-install-recommends", *packages)


def advice(routes: Mapping[str, Route]) -> str:
    """The exact line that installs what is missing."""
    packages = " ".join(_packages(routes))
    if shutil.which("apt-get") is None:
        return f"Install {packages} and see that the programs are on the PATH."
    line = f"apt-get update && apt-get install -y --no-install-recommends {packages}"
    if os.geteuid() != 0:
        return f"Run: sudo sh -c '{line}'"
    return f"Run: {line}   (or ./tekana up --install)"


def _missing(routes: Mapping[str, Route]) -> list[Route]:
    return [route for route in routes.values() if route.kind is Kind.MISSING]


def _packages(routes: Mapping[str, Route]) -> list[str]:
    return [PACKAGES[route.service] for route in _missing(routes)]


@contextmanager
def services_held_back(policy: Path) -> Iterator[None]:
    """Packages ask this policy before they start a service; 101 means no.

    What stood there before is put back, however the installation ends.
    """
    kept = policy.with_name(f"{policy.name}.before-tekana")
    ours = policy.is_file() and _MARK in policy.read_text(errors="replace")
    if policy.exists() and not ours:  # Ours is there if an earlier installation was killed.
        policy.rename(kept)
    try:
        policy.write_text(f"#!/bin/sh\n{_MARK}\nexit 101\n")
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink(missing_ok=True)
        if kept.exists():
            kept.rename(policy)


def _apt_get(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", "-q", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,  # The command's own output stays clean.
        check=False,
    )
    if done.returncode != 0:
        raise OperatorError(
            f"apt-get {arguments[0]} failed with code {done.returncode}.",
            "Its own lines above say why.",
        )

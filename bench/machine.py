"""What was measured on: machine, versions, commit, and whether anything else was running."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from ops.stack.discover import TITLES
from ops.stack.folder import CHECKOUT
from ops.stack.services import Services

_PACKAGES: Final = ("celery", "flask", "granian", "flower", "sqlalchemy", "psycopg2-binary")
_BUSY_PER_CPU: Final = 0.5


def about() -> dict[str, Any]:
    """CPU, memory, system, load, commit and the versions that are known before a start."""
    load = os.getloadavg()[0]
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count() or 1,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{_distribution()}, Linux {platform.release()}",
        "load_at_start": round(load, 2),
        "commit": _git("rev-parse", "--short=12", "HEAD") or "unknown",
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {
            "Python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
        },
    }


def service_versions(services: Services) -> dict[str, str]:
    """Versions of the services that are used."""
    return {
        TITLES[name]: ".".join(map(str, route.programs.version))
        for name, route in services.routes().items()
        if route.programs is not None
    }


def warnings(about: dict[str, Any]) -> list[str]:
    """Why the figures may be worth less than they look."""
    found = []
    if about["load_at_start"] > _BUSY_PER_CPU * about["cpus"]:
        found.append(
            f"This machine is busy: a load of {about['load_at_start']} on {about['cpus']} CPUs. "
            "The figures will be too low; ratios suffer less."
        )
    if about["uncommitted_changes"]:
        found.append("There are uncommitted changes: the commit does not tell what was measured.")
    return found


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown distribution"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""  # A release that was unpacked knows no commit.
    return done.stdout.strip()

"""What `./tekana doctor` looks at."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from ops.stack.accounts import service_account
from ops.stack.discover import Kind, Route
from ops.stack.folder import abandoned
from ops.stack.install import advice
from ops.stack.stack import Stack


@dataclass(frozen=True)
class Finding:
    """One line, and what explains it."""

    subject: str
    good: bool
    text: str
    notes: tuple[str, ...] = ()


def findings() -> Iterator[Finding]:
    """Everything that `up` depends on, without starting or changing anything."""
    yield Finding("python", True, platform.python_version())
    stack = Stack()
    routes = stack.services.routes()
    for route in routes.values():
        yield _about(route)
    if any(route.kind is Kind.MISSING for route in routes.values()):
        yield Finding("to do", False, advice(routes))
    yield _data(stack)
    running = [part.name for part in stack.parts() if part.running()]
    yield Finding("running", True, ", ".join(running) or "nothing")
    for place in abandoned():
        text = f"{place} belongs to no run folder any more; remove it with: rm -rf {place}"
        yield Finding("left over", True, text)


def _about(route: Route) -> Finding:
    good = route.kind is not Kind.MISSING
    text = f"{route.kind}: {route.reason}" if good else route.reason
    notes = [*route.passed_over] if good else []
    if route.kind is Kind.BINARIES:
        account = service_account(route.service)
        notes.append(f"runs as {account.name}" if account else "runs as you")
    return Finding(route.service, good, text, tuple(notes))


def _data(stack: Stack) -> Finding:
    place = stack.run.path / "data"
    nearest = next(folder for folder in (place, *place.parents) if folder.exists())
    free_mb = shutil.disk_usage(nearest).free // 1024**2
    if place.exists():
        text = f"{place.resolve()}"
    elif os.geteuid() == 0:
        text = "none yet; below .run, or below /var/lib/tekana if other accounts cannot reach it"
    else:
        text = "none yet; below .run"
    return Finding("data", True, f"{text} ({free_mb:,} MB free)")

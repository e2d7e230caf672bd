"""test and check: what continuous integration runs, and developers before a commit."""

import subprocess
import sys
import time
from pathlib import Path

import click

from ops.errors import OperatorError

_CHECKOUT = Path(__file__).resolve().parents[2]
_PACKAGES = ("api", "config", "domain", "ops", "producers", "storage", "workers")
# Ruff asks these questions too, and there each exception stands next to its reason: jitter by
# `random`, the starting of programs (what `ops` is for), SQL put together from constants,
# passwords that are empty on purpose.
_ASKED_BY_RUFF = "B105,B106,B311,B404,B603,B607,B608"
_CHECKS = {
    "format": ("-m", "ruff", "format", "--check", "."),
    "lint": ("-m", "ruff", "check", "."),
    "types": ("-m", "mypy"),
    "imports": ("-c", "from importlinter.cli import lint_imports_command as run; run()"),
    "asyncapi": ("-m", "ops.asyncapi"),
    "security": ("-m", "bandit", "--quiet", "--recursive", "--skip", _ASKED_BY_RUFF, *_PACKAGES),
}
_IN_TWO_HALVES = ("--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder")


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Run all tests against real services, in two halves at once; arguments go to pytest."""
    # Each half has services of its own, and mostly waits for them.
    pytest = [sys.executable, "-m", "pytest", *(arguments or _IN_TWO_HALVES)]
    done = subprocess.run(pytest, cwd=_CHECKOUT, check=False)
    sys.exit(done.returncode)


@click.command()
def check() -> None:
    """Format, lint, types, import contracts, security: all of them, whatever fails."""
    failed = [name for name, arguments in _CHECKS.items() if not _passes(name, arguments)]
    if failed:
        raise OperatorError(f"Failed: {', '.join(failed)}.")


def _passes(name: str, arguments: tuple[str, ...]) -> bool:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=_CHECKOUT, capture_output=True, text=True, check=False
    )
    passed = done.returncode == 0
    verdict = click.style("ok", fg="green") if passed else click.style("FAILED", fg="red")
    click.echo(f"{name:<10} {verdict}  {time.monotonic() - begun:.1f} s")
    if not passed:
        click.echo(done.stdout + done.stderr)
    return passed

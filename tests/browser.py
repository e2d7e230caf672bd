"""A real browser without a window, for pages that people look at."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from ops.errors import OperatorError
from ops.stack.install import install_packages


class Shown(NamedTuple):
    """A page once its scripts have run, and what the browser wrote about it."""

    document: str
    log: str


def show(url: str, folder: Path, patience_ms: int = 10_000) -> Shown:
    """Open a page in Chromium; its profile goes to `folder`.

    Chromium is installed if we may. Where it is missing and we may not, the test is skipped
    with the line to run.
    """
    browser = subprocess.run(
        [
            _chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={folder}/browser",
            f"--virtual-time-budget={patience_ms}", "--enable-logging=stderr", "--dump-dom", url,
        ],
        capture_output=True, text=True, check=True, timeout=90,
    )  # fmt: skip
    return Shown(browser.stdout, browser.stderr)


def _chromium() -> str:
    program = shutil.which("chromium")
    if program is None:
        try:
            install_packages("chromium")
        except OperatorError as error:
            pytest.skip(error.format_message())
    return program or "chromium"

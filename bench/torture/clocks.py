"""Clocks of processes that can be moved while they run, by libfaketime."""

import os
from pathlib import Path

from ops.errors import OperatorError
from ops.stack.install import install_packages

PACKAGE = "libfaketime"


def preload() -> dict[str, str]:
    """What the environment of a process needs, besides FAKETIME_TIMESTAMP_FILE.

    The library is installed where it is missing. Raises: OperatorError if it cannot be.
    """
    library = _library()
    if library is None:
        install_packages(PACKAGE)
        library = _library()
    if library is None:
        raise OperatorError(f"{PACKAGE} is installed, but its library was not found.")
    return {
        "LD_PRELOAD": str(library),
        # What counts seconds must not jump: no clock of a real machine does that either.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Otherwise its waits of pthreads return at once, and Python's threads, which wait so for
        # their turn, take three to seven times as long for everything.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        "FAKETIME_CACHE_DURATION": "1",
        "NO_FAKE_STAT": "1",
    }


def _library() -> Path | None:
    multiarch = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu"
    for folder in (multiarch, Path("/usr/lib64"), Path("/usr/lib")):
        found = folder / "faketime" / "libfaketime.so.1"
        if found.exists():
            return found
    return None

"""The services that every test may use: real ones, private to this test run."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.stack.folder import DEFAULT_RUN_FOLDER
from ops.stack.services import Services
from ops.stack.stack import Stack
from ops.stack.sweep import claim, sweep


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let a test run that is asked to end take its services with it, as on Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """Running private Postgres, RabbitMQ and Redis; never those named in the environment.

    Fault tests may kill, pause and restart them; whoever does leaves them running.
    """
    sweep(DEFAULT_RUN_FOLDER)
    folder: Path = DEFAULT_RUN_FOLDER / f"test-{os.getpid()}"
    claim(folder)
    private = Services(folder)
    try:
        yield private.up()
    finally:
        private.purge()


@pytest.fixture(scope="module")
def stack(services: Services) -> Iterator[Stack]:
    """The application on the services of this test run."""
    made = Stack(services.run.path, environment={})
    made.up()
    yield made
    for process in made.application():
        process.stop()

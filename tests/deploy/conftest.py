"""The deployed system, once for all tests that look at it from outside."""

from collections.abc import Iterator

import pytest

from ops.stack.folder import DEFAULT_RUN_FOLDER
from ops.stack.sweep import claim, sweep
from tests.deploy.deployed import Deployed, here_and_claimed


@pytest.fixture(scope="package")
def deployed() -> Iterator[Deployed]:
    """Everything of docker-compose.yml but Flower, up and with a client."""
    sweep(DEFAULT_RUN_FOLDER)
    folder = here_and_claimed(DEFAULT_RUN_FOLDER)
    claim(folder)
    system = Deployed(folder)
    try:
        system.up()
        yield system
    finally:
        system.down()

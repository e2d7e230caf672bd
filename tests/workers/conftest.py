"""A house for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.stack.services import Services
from tests.workers.house import House
from workers.callbacks.sender import Sender


@pytest.fixture
def open_house(services: Services, tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Make houses with settings of their own; all their processes end with the test."""
    houses: list[House] = []

    def open_one(**overrides: object) -> House:
        houses.append(House(services, tmp_path, **overrides))
        return houses[-1]

    yield open_one
    for house in houses:
        house.close()


@pytest.fixture
def house(open_house: Callable[..., House]) -> House:
    return open_house()


@pytest.fixture
def open_sender() -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []

    def open_one(**options: Any) -> Sender:
        made.append(Sender(**{"allow_loopback": True} | options))
        return made[-1]

    yield open_one
    for one in made:
        one.close()

"""A house with partners for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.stack.services import Services
from tests.partners.house import PartnerHouse


@pytest.fixture
def open_house(services: Services, tmp_path: Path) -> Iterator[Callable[..., PartnerHouse]]:
    """Make houses with settings of their own; all their processes end with the test."""
    houses: list[PartnerHouse] = []

    def open_one(**overrides: object) -> PartnerHouse:
        houses.append(PartnerHouse(services, tmp_path, **overrides))
        return houses[-1]

    yield open_one
    for house in houses:
        house.close()


@pytest.fixture
def house(open_house: Callable[..., PartnerHouse]) -> PartnerHouse:
    return open_house()

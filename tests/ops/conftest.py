"""What tests of the operator's commands need: a database of their own, and somebody to type."""

from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from config.settings import Settings
from ops.cli import main
from ops.stack.services import Services
from storage.engine import operator_engine
from tests.support import fresh_database

Operator = Callable[..., Result]


@pytest.fixture
def settings(services: Services, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A new database with 8 partitions, which the environment names."""
    made = fresh_database(services)
    monkeypatch.setenv("TEKANA_ENVIRONMENT", "development")
    for name in ("database_url", "broker_url", "redis_url"):
        monkeypatch.setenv(f"TEKANA_{name.upper()}", getattr(made, name).get_secret_value())
    return made


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    made = operator_engine(settings)
    yield made
    made.dispose()


@pytest.fixture
def tekana() -> Operator:
    """Types a command: `tekana("client", "list")`. An exception that escapes fails the test."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)

    return run

"""What tests of the operator's commands need: a database of their own, and somebody to type."""

import json
import uuid
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from config import broker
from config.settings import Settings
from ops.broker_admin import BrokerAdmin
from ops.cli import main
from ops.stack.services import Services
from producers import topology
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


@pytest.fixture
def admin(services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> BrokerAdmin:
    """A broker that may be administered, with the queues of 8 partitions."""
    monkeypatch.setenv("TEKANA_BROKER_ADMIN_URL", services.rabbitmq.management_url)
    topology.declare(services.broker_url, settings.partitions)
    return BrokerAdmin(services.rabbitmq.management_url, "tekana")


@pytest.fixture
def name(admin: BrokerAdmin) -> Iterator[str]:
    """A name for a partner, of whom the broker keeps nothing after the test."""
    chosen = f"acme-{uuid.uuid4().hex[:8]}"
    yield chosen
    admin.delete_user(broker.partner_user(chosen))
    admin.delete("exchanges", broker.inbox_exchange(chosen))
    for queue in (broker.inbox_queue(chosen), broker.outbox_queue(chosen)):
        admin.delete("queues", queue.name)


@pytest.fixture
def added(tekana: Operator, name: str) -> dict[str, str]:
    """A partner that may deposit, with its secrets."""
    scopes = ("--scope", "deposits:write", "--scope", "wallets:read")
    done = tekana("partner", "add", name, *scopes, "--json", "--reason", "contract 12")
    assert done.exit_code == 0, done.output
    issued: dict[str, str] = json.loads(done.stdout)
    return issued

"""A ledger on a database of its own."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, text

from config.settings import Settings
from ops.stack.services import Services
from storage.engine import ledger_engine, operator_engine
from storage.ledger import Decided, Ledger
from tests.bookkeeping import (
    CLIENT,
    NOW,
    OTHER_CLIENT,
    deposit,
    open_customer,
    open_wallet,
)
from tests.support import fresh_database


@dataclass
class Books:
    """A database with two clients, and short words for what tests do with it."""

    settings: Settings
    engine: Engine
    ledger: Ledger

    def decide(self, *instructions: object, partition: int = 0) -> Decided:
        return self.ledger.decide(partition, list(instructions), lambda: NOW)  # type: ignore[arg-type]

    def open(self, *names: str, client_id: int = CLIENT, currency: str = "KES") -> None:
        """Open a customer and a wallet of each name, with 100 in it."""
        batch: list[object] = []
        for name in names:
            batch.append(open_customer(f"customer {name}".replace(" ", "-"), name, client_id))
            batch.append(open_wallet(f"wallet-{name}", name, name, currency, client_id))
            batch.append(deposit(f"fund-{name}", name, 100, currency, client_id=client_id))
        for decision in self.decide(*batch).posting.decisions:
            assert decision.outcome.status == "succeeded", decision

    def rows(self, statement: str, **named: object) -> list[tuple[object, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), named)]


@pytest.fixture
def books(services: Services) -> Iterator[Books]:
    settings = fresh_database(services)
    engine = ledger_engine(settings)
    with engine.begin() as connection:
        for number, name in ((CLIENT, "acme"), (OTHER_CLIENT, "other")):
            connection.execute(
                text("INSERT INTO clients (name, scopes) VALUES (:name, '{}')"), {"name": name}
            )
            assert number
    yield Books(settings, engine, Ledger(engine, 8))
    engine.dispose()


@pytest.fixture
def operator(books: Books) -> Iterator[Engine]:
    engine = operator_engine(books.settings)
    yield engine
    engine.dispose()

"""The peer of the drain is no straw man: it loses no money, and nothing twice."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from bench.ground import Ground
from bench.plain.design import PlainDesign
from bench.plain.posting import Order, post
from bench.plain.tables import Account, Entry, Transfer
from bench.transfers import CURRENCY, wallet_id
from ops.stack.services import Services
from tests.support import wait_until

WALLETS = 6


def an_order(key: object, source: int, destination: int, amount: int = 10) -> Order:
    return Order(
        idempotency_key=f"plain-{key}",
        source_wallet_id=wallet_id(source),
        destination_wallet_id=wallet_id(destination),
        amount=amount,
        currency=CURRENCY,
        reference="rent",
    )


@pytest.fixture(scope="module")
def plain(services: Services) -> Iterator[PlainDesign]:
    design = PlainDesign(Ground(services.run.path, services), WALLETS)
    yield design
    design.close()


@pytest.fixture
def sessions(plain: PlainDesign) -> sessionmaker[Session]:
    with plain.engine.begin() as connection:
        connection.execute(text("TRUNCATE transfers, entries"))
        connection.execute(text("UPDATE accounts SET balance = 0, floor = 0"))
    return sessionmaker(plain.engine)


def fund(sessions: sessionmaker[Session], amount: int) -> None:
    with sessions.begin() as session:
        for account in session.scalars(select(Account)):
            account.balance = amount


def balances(sessions: sessionmaker[Session]) -> dict[str, int]:
    with sessions() as session:
        return {account.id: account.balance for account in session.scalars(select(Account))}


def test_twenty_transfers_through_its_queue_and_worker_move_money_once_each(plain, sessions):
    fund(sessions, 1000)
    orders = [an_order(n, n % WALLETS, (n * 5 + 1) % WALLETS, 10 + n) for n in range(20)]
    orders = [o for o in orders if o["source_wallet_id"] != o["destination_wallet_id"]]
    assert len(orders) >= 10

    worker = plain.worker()
    plain.publish([*orders, *orders[:5]])
    worker.start()
    try:
        wait_until(lambda: plain.results() == len(orders) + 5, what="results")
    finally:
        worker.stop()

    expected = dict.fromkeys((wallet_id(n) for n in range(WALLETS)), 1000)
    for order in orders:
        expected[order["source_wallet_id"]] -= order["amount"]
        expected[order["destination_wallet_id"]] += order["amount"]
    assert balances(sessions) == expected
    with sessions() as session:
        assert len(session.scalars(select(Transfer)).all()) == len(orders)
        entries = session.scalars(select(Entry)).all()
        assert len(entries) == 2 * len(orders)
        assert sum(entry.amount for entry in entries) == 0


def test_what_is_not_there_cannot_be_spent(sessions):
    fund(sessions, 5)

    assert post(sessions, an_order("poor", 0, 1, 6)) == {"status": "rejected"}
    assert set(balances(sessions).values()) == {5}


def test_a_repeat_gets_the_first_result_and_moves_nothing(sessions):
    fund(sessions, 100)
    first = post(sessions, an_order("again", 0, 1, 60))

    assert post(sessions, an_order("again", 0, 1, 60)) == first == {"status": "succeeded"}
    assert balances(sessions)[wallet_id(0)] == 40


def test_a_rejection_is_repeated_though_the_money_has_come(sessions):
    rejected = post(sessions, an_order("early", 0, 1, 60))
    fund(sessions, 100)

    assert post(sessions, an_order("early", 0, 1, 60)) == rejected == {"status": "rejected"}

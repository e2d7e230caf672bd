"""What keeps the ledger whole where the broker's courtesy ends; bench/torture/mutations.py."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from storage.engine import ledger_engine
from storage.ledger import Ledger
from storage.verify import verify
from tests.bookkeeping import NOW, open_customer, transfer, wallet_id
from tests.storage.conftest import Books
from tests.support import wait_until


def test_what_nobody_could_be_told_of_is_not_decided(books: Books) -> None:
    with books.engine.begin() as connection:
        connection.execute(text("ALTER TABLE events RENAME TO events_elsewhere"))

    with pytest.raises(SQLAlchemyError):
        books.decide(open_customer("k1", "Ama"))

    with books.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM instructions")) == 0


def test_two_workers_of_one_partition_that_share_no_wallet_take_turns_all_the_same(
    books: Books,
) -> None:
    books.open("ann", "ben", "cyn", "dan")
    other_engine = ledger_engine(books.settings)
    work = [(books.ledger, "ann", "ben"), (Ledger(other_engine, 8), "cyn", "dan")]
    together = threading.Barrier(2)

    def run(job: tuple[Ledger, str, str]) -> None:
        ledger, source, destination = job
        together.wait()
        for number in range(60):
            one = transfer(f"{source}-{number}", source, destination, 1)
            ledger.decide(0, [one], lambda: NOW)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, work))

    assert verify(books.engine).findings == []
    other_engine.dispose()


def test_a_batch_waits_for_its_first_wallet_before_it_locks_any_other(
    books: Books, operator: Engine
) -> None:
    names = [f"w{number:02}" for number in range(24)]
    books.open(*names)
    first, *rest = sorted(wallet_id(name) for name in names)
    batch = [transfer(f"t{name}", name, names[0], 1) for name in names[1:]]
    others = text("SELECT 1 FROM wallets WHERE id = ANY (CAST(:ids AS uuid[])) FOR UPDATE NOWAIT")
    with ThreadPoolExecutor(1) as pool, operator.connect() as outsider:
        outsider.execute(text("SELECT 1 FROM wallets WHERE id = :id FOR UPDATE"), {"id": first})
        deciding = pool.submit(books.decide, *batch)
        wait_until(lambda: _anybody_waits(operator))

        outsider.execute(others, {"ids": rest})

        outsider.rollback()
        assert len(deciding.result().posting.decisions) == len(batch)


def _anybody_waits(operator: Engine) -> bool:
    waiting = text("""
        SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
    """)
    with operator.connect() as connection:
        return connection.execute(waiting).first() is not None

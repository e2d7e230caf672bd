"""The past that is written by set is one that the ledger might have had."""

from datetime import UTC, datetime

from sqlalchemy import text

from bench.books import open_wallets
from bench.history import write_history
from bench.transfers import Transfers, uniform
from domain.identity import instruction_id, partition_of
from ops.commands.clients import ensure_development_key
from storage.engine import ledger_engine, operator_engine
from storage.ledger import Ledger
from storage.verify import verify
from tests.bench.test_sampling import chance
from tests.support import fresh_database

WALLETS, TRANSFERS = 400, 1_600


def test_a_written_past_is_sound_and_the_ledger_goes_on_from_it(services):
    settings = fresh_database(services)
    engine = operator_engine(settings)
    with engine.begin() as connection:
        ensure_development_key(connection)
    open_wallets(engine, 1, WALLETS)

    write_history(engine, 1, WALLETS, TRANSFERS, lambda _count: None)

    verdict = verify(engine)
    assert verdict.sound, verdict.findings
    assert verdict.counts["transfers"] == TRANSFERS
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM instructions")).all()
        indexes = connection.scalar(
            text("SELECT count(*) FROM pg_indexes WHERE tablename = 'instructions'")
        )
    assert all(row.id == instruction_id(1, row.idempotency_key) for row in rows)
    assert all(row.partition == partition_of(row.source_wallet_id, 8) for row in rows)
    assert indexes == index_count(fresh_database(services))

    draw = uniform(WALLETS, chance())
    ledger = Ledger(ledger_engine(settings), 8)
    partition, batch = next(Transfers(1, 8, chance()).batches(20, draw, draw))
    posting = ledger.decide(partition, batch, lambda: datetime.now(UTC)).posting

    assert {each.outcome.status for each in posting.decisions} == {"succeeded"}
    assert verify(engine).sound
    engine.dispose()


def index_count(settings) -> int:
    engine = operator_engine(settings)
    with engine.connect() as connection:
        counted = connection.scalar(
            text("SELECT count(*) FROM pg_indexes WHERE tablename = 'instructions'")
        )
    engine.dispose()
    return int(counted or 0)

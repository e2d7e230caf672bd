"""The migrations and the tables that the code knows are the same."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from ops.stack.services import Services
from storage import schema
from storage.engine import operator_engine
from storage.partitions import PartitionCountMismatch
from storage.tables import metadata
from tests.storage.conftest import Books
from tests.support import fresh_database, settings_for

PARTIAL_INDEXES = {
    "callback_endpoints_client",
    "customers_legacy",
    "deliveries_due",
    "deliveries_exhausted",
    "deliveries_newest",
    "events_pending",
    "instructions_destination",
    "instructions_source",
    "parked_instruction",
    "parked_once",
    "wallets_customer",
    "wallets_settlement",
}
"""Said in the migration only: Core has no use for them."""

PARTITION = re.compile(r"(events|deliveries)_(default|\d{8})")


def test_the_tables_are_what_the_migrations_make(operator: Engine):
    with operator.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_object": lambda _o, name, *_: (
                    not (name in PARTIAL_INDEXES or PARTITION.fullmatch(name))
                ),
            },
        )
        differences = [d for d in compare_metadata(context, metadata) if "comment" not in str(d)]

    assert differences == []


def test_migrating_twice_and_at_once_is_migrating_once(services: Services, books: Books):
    engines = [operator_engine(books.settings) for _ in range(3)]

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda engine: schema.migrate(engine, 8), engines))

    assert books.rows("SELECT count(*) FROM partitions") == [(8,)]
    for engine in engines:
        engine.dispose()


def test_a_database_keeps_its_partition_count(services: Services):
    settings = fresh_database(services, partitions=4)
    engine = operator_engine(settings)

    with pytest.raises(PartitionCountMismatch):
        schema.migrate(engine, 8)

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM partitions")) == 4
    engine.dispose()
    assert settings_for(services).partitions == 8


def test_receipts_are_compressed_by_what_is_quick_in_every_part_of_the_table(operator: Engine):
    with operator.connect() as connection:
        connection.execute(
            text(
                "CREATE TABLE events_29990101 PARTITION OF events"
                " FOR VALUES FROM ('2999-01-01') TO ('2999-01-02')"
            )
        )
        found = connection.execute(
            text(
                "SELECT CAST(relid AS text), attcompression FROM pg_partition_tree('events')"
                " JOIN pg_attribute ON attrelid = relid AND attname = 'documents'"
            )
        ).all()
        connection.rollback()

    assert "events_29990101" in {name for name, _ in found}
    assert {compression for _, compression in found} == {"l"}

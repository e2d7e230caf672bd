"""A ledger with a million wallets, made in seconds and true from the first row on."""

from typing import Final

from sqlalchemy import Connection, Engine, text

from bench.transfers import CURRENCY

OVERDRAFT_MINOR: Final = 1_000_000_000
"""Wallets begin at zero, so that the books sum to zero without any history; this lets them pay.

It is a floor like any other: the rule that looks at it runs for each transfer."""

WALLETS_OF_A_CUSTOMER: Final = 4

# Foreign keys are checked row by row, a million times over: what is made here cannot break one.
WITHOUT_FOREIGN_KEYS: Final = text("SET LOCAL session_replication_role = replica")

CUSTOMERS: Final = text("""
    INSERT INTO customers (id, client_id, name, phone, country, created_at)
    SELECT CAST(md5('customer ' || number) AS uuid), :client_id, 'Customer ' || number,
           '+2547' || lpad(CAST(number AS text), 8, '0'), 'KE', now()
    FROM generate_series(0, (:wallets - 1) / :wallets_each) AS number
""")

WALLETS: Final = text("""
    INSERT INTO wallets
        (id, client_id, customer_id, currency, balance, seq, floor, opened_at)
    SELECT CAST(md5('wallet ' || number) AS uuid), :client_id,
           CAST(md5('customer ' || number / :wallets_each) AS uuid), :currency, 0, 0, :floor, now()
    FROM generate_series(0, :wallets - 1) AS number
""")


def open_wallets(engine: Engine, client_id: int, wallets: int) -> None:
    """Open so many wallets and their customers; statistics are fresh afterwards."""
    named = {
        "client_id": client_id,
        "wallets": wallets,
        "wallets_each": WALLETS_OF_A_CUSTOMER,
        "currency": CURRENCY,
        "floor": -OVERDRAFT_MINOR,
    }
    with engine.begin() as connection:
        for statement in (WITHOUT_FOREIGN_KEYS, CUSTOMERS, WALLETS):
            connection.execute(statement, named)
    vacuum(engine)


def vacuum(engine: Engine) -> None:
    """What Postgres does by itself sooner or later, at a time that suits us."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def instructions_bytes(connection: Connection) -> int:
    """Bytes of all decided instructions on disk, indexes included."""
    size = connection.scalar(text("SELECT pg_total_relation_size('instructions')"))
    return int(size or 0)


def instructions_count(engine: Engine) -> int:
    """How many instructions were decided, as the partitions count them."""
    with engine.connect() as connection:
        total = connection.scalar(text("SELECT CAST(sum(position) AS bigint) FROM partitions"))
        return int(total or 0)

"""Books with a history, for tests that look at them from the outside."""

from datetime import UTC, datetime

from sqlalchemy import Engine, text

from domain.identity import partition_of
from domain.instructions import Instruction
from storage.clients import SCOPES, add_client
from storage.ledger import Ledger
from tests.bookkeeping import deposit, open_customer, open_wallet, transfer

PARTITIONS = 8


def post(engine: Engine, *instructions: Instruction) -> None:
    """Decide each in a transaction of its own, as a worker of its partition would."""
    ledger = Ledger(engine, PARTITIONS)
    for instruction in instructions:
        partition = partition_of(instruction.partition_key, PARTITIONS)
        ledger.decide(partition, [instruction], lambda: datetime.now(UTC))


def add_a_client(engine: Engine, name: str = "acme") -> int:
    with engine.begin() as connection:
        return add_client(connection, name, SCOPES, who="test", reason="test")


def books_of_alice_and_bob(engine: Engine) -> int:
    """Alice got 1,000 and gave Bob 300 and 200. Returns their client."""
    client_id = add_a_client(engine)
    post(
        engine,
        open_customer("c1", "alice", client_id),
        open_customer("c2", "bob", client_id),
        open_wallet("w1", "alice", "alice", client_id=client_id),
        open_wallet("w2", "bob", "bob", client_id=client_id),
        deposit("d1", "alice", 1000, client_id=client_id),
        transfer("t1", "alice", "bob", 300, client_id=client_id),
        transfer("t2", "alice", "bob", 200, client_id=client_id),
        transfer("t3", "alice", "bob", 9000, client_id=client_id),
    )
    return client_id


def actions(engine: Engine) -> list[tuple[str, str, str, str]]:
    """Who did what to which subject, and why, oldest first."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT who, action, subject, reason FROM operator_actions ORDER BY id")
        )
        return [(row.who, row.action, row.subject, row.reason) for row in rows]

"""The database repeats the invariants: these hold against its owner, too."""

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from storage.faults import sqlstate
from tests.bookkeeping import transfer, wallet_id
from tests.storage.conftest import Books

ONE_MORE = """
    INSERT INTO instructions
        (position, submitted_at, decided_at, amount, source_seq, source_balance,
         destination_seq, destination_balance, id, source_wallet_id, destination_wallet_id,
         client_id, type, partition, currency, fingerprint, idempotency_key)
    SELECT position, submitted_at, decided_at, amount, {source_seq}, {source_balance},
           {destination_seq}, destination_balance, gen_random_uuid(), source_wallet_id,
           destination_wallet_id, client_id, type, partition, currency, fingerprint, 'again'
    FROM instructions WHERE type = 'transfer'
"""

SOUND = {
    "source_seq": "source_seq + 1",
    "source_balance": "source_balance",
    "destination_seq": "destination_seq + 1",
}


@pytest.fixture
def refused_with(books: Books, operator: Engine):
    books.open("ann", "ben")
    books.decide(transfer(1, "ann", "ben", 1))

    def state(statement: str, **named: object) -> str | None:
        with pytest.raises(DBAPIError) as refused, operator.begin() as connection:
            connection.execute(text(statement), named)
        return sqlstate(refused.value)

    return state


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE instructions SET amount = 2",
        "UPDATE instructions SET rejection = '{}' WHERE false",
        "DELETE FROM instructions",
        "TRUNCATE instructions",
        "UPDATE operator_actions SET who = 'nobody'",
        "DELETE FROM operator_actions",
        "DELETE FROM wallets",
        "TRUNCATE wallets CASCADE",
        "UPDATE wallets SET currency = 'RWF'",
        "UPDATE wallets SET client_id = 2",
        "SET LOCAL session_replication_role = replica; DELETE FROM instructions",
    ],
)
def test_nobody_rewrites_the_past(refused_with, statement: str):
    assert refused_with(statement) == "42501"


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("UPDATE wallets SET balance = -1 WHERE id = CAST(:ann AS uuid)", "23514"),
        ("UPDATE wallets SET balance = 9007199254740992 WHERE id = CAST(:ann AS uuid)", "23514"),
        ("UPDATE wallets SET seq = -1 WHERE id = CAST(:ann AS uuid)", "23514"),
        ("UPDATE wallets SET floor = NULL WHERE id = CAST(:ann AS uuid)", "23514"),
    ],
)
def test_no_wallet_falls_below_its_floor_or_beyond_its_bounds(refused_with, statement, state):
    assert refused_with(statement, ann=wallet_id("ann")) == state


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"source_seq": "source_seq"}, "23505"),
        ({"destination_seq": "destination_seq"}, "23505"),
        ({"source_balance": "NULL"}, "23514"),
        ({"destination_seq": "NULL"}, "23514"),
        ({"source_seq": "NULL"}, "23514"),
    ],
)
def test_no_entry_is_numbered_twice_or_stands_alone(refused_with, change, state):
    assert refused_with(ONE_MORE.format(**{**SOUND, **change})) == state


def test_a_sound_row_would_be_accepted_so_the_refusals_above_mean_something(
    books: Books, operator: Engine
):
    books.open("ann", "ben")
    books.decide(transfer(1, "ann", "ben", 1))

    with operator.begin() as connection:
        assert connection.execute(text(ONE_MORE.format(**SOUND))).rowcount == 1

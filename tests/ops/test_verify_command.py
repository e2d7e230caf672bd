"""`verify` must find what it promises to find: each test breaks one thing behind its back."""

import json

import pytest
from sqlalchemy import Engine, text

from tests.bookkeeping import wallet_id
from tests.ops.books import books_of_alice_and_bob
from tests.ops.conftest import Operator

ALICE, BOB = wallet_id("alice"), wallet_id("bob")

_OF_T1 = "idempotency_key = 't1'"


def _corrupt(engine: Engine, statement: str) -> None:
    """Change what guards, constraints and indexes exist to protect, as only a superuser can."""
    with engine.begin() as connection:
        for table in ("instructions", "wallets"):
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
        connection.execute(text("ALTER TABLE wallets DROP CONSTRAINT wallets_floor"))
        changed = connection.execute(text(statement))
        assert changed.rowcount > 0


def test_books_that_are_right_are_called_sound(engine: Engine, tekana: Operator) -> None:
    books_of_alice_and_bob(engine)

    done = tekana("verify")

    assert done.exit_code == 0, done.output
    assert "2 wallets, 8 instructions, 7 succeeded, 1 rejected, 3 transfers" in done.stdout
    assert "The books are sound" in done.stdout


@pytest.mark.usefixtures("settings")
def test_empty_books_are_sound(tekana: Operator) -> None:
    done = tekana("verify", "--json")

    assert done.exit_code == 0
    assert json.loads(done.stdout)["sound"] is True


@pytest.mark.parametrize(
    ("statement", "subject", "fault"),
    [
        pytest.param(
            f"UPDATE wallets SET balance = balance + 1 WHERE id = '{ALICE}'",
            f"wallet {ALICE}",
            "balance differs from the sum of its entries",
            id="a balance",
        ),
        pytest.param(
            f"UPDATE wallets SET seq = seq + 1 WHERE id = '{BOB}'",
            f"wallet {BOB}",
            "seq differs from the number of its entries",
            id="a seq",
        ),
        pytest.param(
            f"UPDATE instructions SET destination_seq = 9 WHERE {_OF_T1}",
            f"wallet {BOB}",
            "entries are not numbered from 1 without gaps",
            id="a gap",
        ),
        pytest.param(
            f"UPDATE instructions SET source_balance = source_balance + 1 WHERE {_OF_T1}",
            f"wallet {ALICE}",
            "an entry's balance does not follow from the last",
            id="a leg",
        ),
        pytest.param(
            f"UPDATE instructions SET amount = amount + 1 WHERE {_OF_T1}",
            f"wallet {BOB}",
            "balance differs from the sum of its entries",
            id="an amount",
        ),
        pytest.param(
            f"DELETE FROM instructions WHERE {_OF_T1}",
            f"wallet {ALICE}",
            "balance differs from the sum of its entries",
            id="a lost instruction",
        ),
        pytest.param(
            f"UPDATE instructions SET currency = 'RWF' WHERE {_OF_T1}",
            f"wallet {ALICE}",
            "an entry is in another currency",
            id="an entry's currency",
        ),
        pytest.param(
            f"UPDATE wallets SET floor = balance + 1 WHERE id = '{BOB}'",
            f"wallet {BOB}",
            "balance is below its floor",
            id="a floor",
        ),
        pytest.param(
            f"UPDATE wallets SET currency = 'RWF' WHERE id = '{BOB}'",
            "currency RWF",
            "sums to 500, not to zero",
            id="a currency's sum",
        ),
        pytest.param(
            f"DELETE FROM wallets WHERE id = '{BOB}'",
            f"wallet {BOB}",
            "has entries but does not exist",
            id="a lost wallet",
        ),
    ],
)
def test_what_is_broken_is_named(
    statement: str, subject: str, fault: str, engine: Engine, tekana: Operator
) -> None:
    books_of_alice_and_bob(engine)
    _corrupt(engine, statement)

    told = tekana("verify")
    as_json = tekana("verify", "--json")

    assert (told.exit_code, as_json.exit_code) == (1, 1)
    assert "NOT sound" in told.stderr
    assert subject in told.stdout
    verdict = json.loads(as_json.stdout)
    assert verdict["sound"] is False
    assert {"subject": subject, "fault": fault} in verdict["findings"]


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(
            "UPDATE instructions SET position = position + 100 WHERE idempotency_key = 't3'",
            id="a place that was moved",
        ),
        pytest.param(
            "DELETE FROM instructions WHERE idempotency_key = 't3'", id="a rejection that was lost"
        ),
    ],
)
def test_a_partition_that_is_not_whole_is_named(
    statement: str, engine: Engine, tekana: Operator
) -> None:
    books_of_alice_and_bob(engine)
    with engine.connect() as connection:
        partition = connection.scalar(
            text("SELECT partition FROM instructions WHERE idempotency_key = 't3'")
        )
    _corrupt(engine, statement)

    done = tekana("verify", "--json")

    assert done.exit_code == 1
    assert [found["subject"] for found in json.loads(done.stdout)["findings"]] == [
        f"partition {partition}"
    ]


def test_money_that_came_from_what_somebody_can_spend_is_named(
    engine: Engine, tekana: Operator
) -> None:
    books_of_alice_and_bob(engine)
    _corrupt(
        engine,
        f"UPDATE instructions SET source_wallet_id = '{BOB}' WHERE type = 'deposit'",
    )

    found = json.loads(tekana("verify", "--json").stdout)["findings"]

    faults = {each["fault"] for each in found if each["subject"].startswith("instruction ")}
    assert faults == {"went through no settlement account of its client"}


def test_only_so_many_wallets_are_named_and_it_says_so(engine: Engine, tekana: Operator) -> None:
    client_id = books_of_alice_and_bob(engine)
    _corrupt(
        engine,
        "INSERT INTO wallets (id, client_id, stripe, currency, balance, seq, opened_at)"
        f" SELECT gen_random_uuid(), {client_id}, number, 'KES', 1, 0, now()"
        " FROM generate_series(1001, 1150) AS number",
    )

    done = tekana("verify")

    assert done.exit_code == 1
    assert "Only the first 100 wallets are named" in done.stdout

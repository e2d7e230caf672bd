"""Who is told what of which instruction: written with it, rendered from it."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from domain.events import Event, EventType, without_personal_data
from ops.stack.services import Services
from storage import events, parked, reads
from storage.clients import grant
from storage.engine import ledger_engine
from storage.ledger import Ledger
from tests.bookkeeping import (
    CLIENT,
    NOW,
    OTHER_CLIENT,
    deposit,
    open_customer,
    open_wallet,
    transfer,
    wallet_id,
    withdrawal,
)
from tests.storage.conftest import Books
from tests.storage.telling import decide_now, feed_of, told
from tests.support import fresh_database

SUCCEEDED, REJECTED, POSTED = (
    "instruction.succeeded",
    "instruction.rejected",
    "entry.posted",
)


def add_client(books: Books, name: str) -> int:
    with books.engine.begin() as connection:
        made = connection.scalar(
            text("INSERT INTO clients (name, scopes) VALUES (:name, '{}') RETURNING id"),
            {"name": name},
        )
    assert made is not None
    return int(made)


def grant_wallet(books: Books, client: str, name: str) -> None:
    with books.engine.begin() as connection:
        grant(connection, client, wallet_id(name), who="test", reason="test")


def document(key: str, type_: EventType = EventType.REFUSED) -> Event:
    return Event(
        f"00000000-0000-4000-8000-{key:0>12}", type_, "2026-11-24T00:00:00.000Z", {"k": key}
    )


def test_each_type_of_instruction_tells_its_submitter_and_the_readers_of_its_wallets(books: Books):
    decide_now(
        books,
        open_customer("customer", "ann", currencies=["KES"]),
        open_wallet("a", "ann", "ann"),
        open_wallet("b", "ben", "ann"),
        deposit("deposit", "ann", 100),
        withdrawal("withdrawal", "ann", 10),
        transfer("transfer", "ann", "ben", 10),
        transfer("too-much", "ann", "ben", 1000),
        open_wallet("again", "ann", "ann"),
    )

    assert told(books, CLIENT) == [
        ("customer", SUCCEEDED),
        ("a", SUCCEEDED),
        ("b", SUCCEEDED),
        ("deposit", SUCCEEDED),
        ("deposit", POSTED),
        ("withdrawal", SUCCEEDED),
        ("withdrawal", POSTED),
        ("transfer", SUCCEEDED),
        ("transfer", POSTED),
        ("transfer", POSTED),
        ("too-much", REJECTED),
        ("again", REJECTED),
    ]
    posted = [e.data for e in feed_of(books.engine, CLIENT, [EventType.ENTRY_POSTED])[0]]
    assert [(e["wallet_id"], e["amount"], e["balance"]) for e in posted] == [
        (wallet_id("ann"), 100, 100),
        (wallet_id("ann"), -10, 90),
        (wallet_id("ann"), -10, 80),
        (wallet_id("ben"), 10, 10),
    ]


def test_both_owners_and_a_grantee_hear_of_an_entry_and_nobody_else(books: Books):
    books.open("ann")
    books.open("theirs", client_id=OTHER_CLIENT)
    third, fourth = add_client(books, "third"), add_client(books, "fourth")
    grant_wallet(books, "third", "theirs")

    decide_now(books, transfer("k", "ann", "theirs", 1))

    assert told(books, CLIENT, "k") == [("k", SUCCEEDED), ("k", POSTED)]
    assert told(books, OTHER_CLIENT, "k") == [("k", POSTED)]
    assert told(books, third) == [("k", POSTED)]
    assert told(books, fourth) == []


def test_a_grantee_who_pays_from_a_wallet_is_told_as_submitter_and_as_reader(books: Books):
    books.open("ann")
    books.open("theirs", client_id=OTHER_CLIENT)
    grant_wallet(books, "acme", "theirs")

    decide_now(books, transfer("k", "theirs", "ann", 1))

    assert told(books, CLIENT, "k") == [("k", SUCCEEDED), ("k", POSTED), ("k", POSTED)]
    assert told(books, OTHER_CLIENT, "k") == [("k", POSTED)]


def test_a_deposit_into_a_foreign_wallet_tells_its_owner_and_no_settlement_account(books: Books):
    books.open("theirs", client_id=OTHER_CLIENT)

    decide_now(books, deposit("k", "theirs", 5, metadata={"order": "4711"}, reference="rent"))

    assert told(books, CLIENT) == [("k", SUCCEEDED)]
    [theirs] = feed_of(books.engine, OTHER_CLIENT)[0][-1:]
    assert (theirs.data["balance"], theirs.data["counterparty_wallet_id"]) == (105, None)


def test_a_payer_never_learns_the_payees_balance_nor_a_payee_the_payers_metadata(books: Books):
    books.open("ann")
    books.open("theirs", client_id=OTHER_CLIENT)
    decide_now(books, deposit("rich", "theirs", 98_765, client_id=OTHER_CLIENT))

    decide_now(books, transfer("k", "ann", "theirs", 1, metadata={"o": "4711"}, reference="rent"))

    mine, theirs = (feed_of(books.engine, c)[0] for c in (CLIENT, OTHER_CLIENT))
    assert "98866" not in json.dumps([event.data for event in mine])
    [outcome] = [e.data for e in mine if e.type == SUCCEEDED and e.data["type"] == "transfer"]
    assert [entry["wallet_id"] for entry in outcome["result"]["entries"]] == [wallet_id("ann")]
    assert outcome["data"]["metadata"] == {"o": "4711"}
    assert "4711" not in json.dumps([event.data for event in theirs])
    assert (theirs[-1].data["reference"], theirs[-1].data["metadata"]) == ("rent", None)


def test_an_event_shows_exactly_what_polling_and_the_list_of_entries_show(books: Books):
    books.open("ann", "ben")
    books.open("theirs", client_id=OTHER_CLIENT)
    batch = [
        deposit("d", "ann", 50, metadata={"a": "b"}, expires_at="2036-01-01T00:00:00Z"),
        withdrawal("w", "ann", 20, reference="out"),
        transfer("t", "ann", "ben", 10, metadata={"c": "d"}),
        transfer("f", "ann", "theirs", 10, metadata={"c": "d"}),
        transfer("r", "ann", "ben", 10**9),
    ]

    decide_now(books, *batch)

    for client_id in (CLIENT, OTHER_CLIENT):
        found, _ = feed_of(books.engine, client_id)
        assert found
        for event in found:
            if event.type is EventType.ENTRY_POSTED:
                shown = dict(event.data)
                listed = reads.entries(books.engine, client_id, shown.pop("wallet_id"), 50)
                assert shown in (listed or [])
                assert event.timestamp == shown["posted_at"]
            else:
                polled = reads.instruction(books.engine, client_id, event.data["id"])
                assert event.data == without_personal_data(polled or {})
                assert event.timestamp == event.data["decided_at"]


def test_no_event_holds_a_name_an_email_or_a_phone(books: Books):
    opening = open_customer(
        "c",
        "Ann Wanjiru",
        phone="+254711222333",
        email="ann@example.com",
        legacy_id="L-7",
        currencies=["KES", "RWF"],
    )
    body, now = opening.model_dump_json().encode(), datetime.now(UTC)
    parked.park(books.engine, 0, body, {}, "test", opening.id, now)
    with books.engine.begin() as connection:
        parked.resolve(connection, 1, "discarded", who="test", reason="test")

    decide_now(books, opening)

    waiting, outcome = feed_of(books.engine, CLIENT)[0]
    assert waiting.type is EventType.PARKED
    assert waiting.data["data"] == outcome.data["data"]
    assert outcome.data["data"] == {
        "customer_id": opening.customer_id,
        "country": "KE",
        "legacy_id": "L-7",
        "currencies": ["KES", "RWF"],
    }
    stored = str(books.rows("SELECT documents, shows, instruction_ids FROM events"))
    for secret in ("Wanjiru", "+254711222333", "ann@example.com"):
        assert secret not in json.dumps([waiting.envelope(), outcome.envelope()])
        assert secret not in stored


def test_a_repeat_and_a_reused_key_tell_nothing_new(books: Books):
    books.open("ann", "ben")
    decide_now(books, transfer("k", "ann", "ben", 1))
    before = books.rows("SELECT count(*) FROM events")

    decided = decide_now(
        books,
        transfer("k", "ann", "ben", 1),
        transfer("k", "ann", "ben", 2),
        transfer("k", "ann", "ben", 1),
    )

    assert books.rows("SELECT count(*) FROM events") == before
    assert decided.pending is None
    decide_now(books, transfer("k", "ann", "ben", 1), transfer("new", "ann", "ben", 1))
    assert len(told(books, CLIENT, "k")) == 3
    assert len(told(books, CLIENT, "new")) == 3


def test_a_batch_tells_what_its_instructions_would_tell_one_by_one(
    books: Books, services: Services
):
    settings = fresh_database(services)
    engine = ledger_engine(settings)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO clients (name, scopes) VALUES ('acme','{}')"))
        connection.execute(text("INSERT INTO clients (name, scopes) VALUES ('other','{}')"))
    other = Books(settings, engine, Ledger(engine, 8))
    now = datetime.now(UTC)
    batch: list[Any] = [
        open_customer("c1", "ann"),
        open_customer("c2", "theirs", OTHER_CLIENT),
        open_wallet("w1", "ann", "ann"),
        open_wallet("w2", "theirs", "theirs", client_id=OTHER_CLIENT),
        *(deposit(f"d{n}", "ann", 10) for n in range(10)),
        *(transfer(f"t{n}", "ann", "theirs", 7) for n in range(20)),
        transfer("t3", "ann", "theirs", 8),
    ]

    books.ledger.decide(0, batch, lambda: now)
    for instruction in batch:
        other.ledger.decide(0, [instruction], lambda: now)

    for client_id in (CLIENT, OTHER_CLIENT):
        whole, singly = (feed_of(each.engine, client_id)[0] for each in (books, other))
        assert whole == singly
        assert len({event.id for event in whole}) == len(whole) > 14
    engine.dispose()


def test_what_is_rendered_by_rows_is_what_is_rendered_by_places(books: Books):
    books.open("ann", "ben")
    decide_now(books, transfer(1, "ann", "ben", 1), deposit(2, "ann", 1))
    with books.engine.begin() as connection:
        events.add_documents(connection, CLIENT, [document("1"), document("2")], datetime.now(UTC))
    with books.engine.connect() as connection:
        rows = [
            events.Row(*row)
            for row in connection.execute(
                text(
                    "SELECT at, xact, client_id, instruction_ids, shows, documents FROM events"
                    " WHERE at > :now ORDER BY xact DESC"
                ),
                {"now": NOW},
            )
        ]
        refs = [events.Ref(row.at, row.xact, one.ordinal) for row in rows for one in row.told()]
        gone = events.Ref(rows[0].at, rows[0].xact + 1, 0)

        by_row = events.render(connection, CLIENT, rows)
        by_place = events.render(connection, CLIENT, [gone, *refs, gone])
        elsewhere = events.render(connection, OTHER_CLIENT, refs)

    assert by_row == by_place
    assert elsewhere == []
    named = [(one.ordinal, one.event_id(CLIENT), one.type) for row in rows for one in row.told()]
    assert named == [(ordinal, event.id, event.type) for ordinal, event in by_row]
    assert [ordinal for ordinal, _ in by_row] == [0, 4, 0, 2, 3, 4, 7]

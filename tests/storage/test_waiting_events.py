"""Who waits to be told, and what is told of messages that wait for an operator."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from domain.events import EventType
from storage import parked, reads
from tests.bookkeeping import CLIENT, OTHER_CLIENT, deposit, transfer
from tests.storage.conftest import Books
from tests.storage.telling import add_endpoint, decide_now, feed_of, pending_rows


@pytest.mark.parametrize(
    ("endpoint", "waits"),
    [({}, True), ({"enabled": False}, False), ({"enabled": False, "deleted": True}, False)],
)
def test_a_row_is_pending_if_its_client_has_an_endpoint_that_works(
    books: Books, endpoint: dict[str, bool], waits: bool
):
    books.open("ann")
    books.open("theirs", client_id=OTHER_CLIENT)
    add_endpoint(books.engine, OTHER_CLIENT, **endpoint)

    decided = decide_now(books, transfer("k", "ann", "theirs", 1))

    rows = pending_rows(books)
    assert [row[2] for row in rows] == [OTHER_CLIENT] * waits
    # One transfer, told to who gave it and to who is paid.
    assert decided.pending == ((*rows[0][:2], 2) if waits else None)


def test_a_row_is_pending_for_a_partner_until_it_is_removed(books: Books):
    books.open("ann")
    with books.engine.begin() as connection:
        connection.execute(text("INSERT INTO partners (client_id, rate_per_s) VALUES (1, 10)"))
    first = decide_now(books, deposit(1, "ann", 1))
    with books.engine.begin() as connection:
        connection.execute(text("UPDATE partners SET removed_at = now()"))
    second = decide_now(books, deposit(2, "ann", 1))

    assert first.pending is not None
    assert second.pending is None
    assert [(*row[:2], 1) for row in pending_rows(books)] == [first.pending]


def test_an_instruction_that_is_parked_is_told_once_each_time(books: Books):
    instruction = transfer("k", "ann", "ben", 1, metadata={"a": "b"})
    body = instruction.model_dump_json().encode()
    now = datetime.now(UTC)

    def park() -> None:
        parked.park(books.engine, 0, body, {}, "a test", instruction.id, now)

    park()
    park()
    with books.engine.begin() as connection:
        parked.resolve(connection, 1, "retried", who="test", reason="test")
    park()
    parked.park(books.engine, 0, b"nonsense", {}, "a test", None, now)

    first, second = feed_of(books.engine, CLIENT)[0]
    assert first.type is second.type is EventType.PARKED
    assert first.id != second.id
    assert first.data == second.data == reads.instruction(books.engine, CLIENT, instruction.id)
    assert first.data["status"] == "parked"


def test_what_has_an_outcome_is_not_told_to_be_parked(books: Books):
    books.open("ann", "ben")
    instruction = transfer("k", "ann", "ben", 1)
    decide_now(books, instruction)

    body = instruction.model_dump_json().encode()
    parked.park(books.engine, 3, body, {}, "wrong partition", instruction.id, datetime.now(UTC))

    assert feed_of(books.engine, CLIENT, [EventType.PARKED])[0] == []


def test_an_operators_rejection_is_told_like_any_other(books: Books):
    add_endpoint(books.engine, CLIENT)
    instruction = transfer("k", "ann", "ben", 1)

    decided = books.ledger.reject(instruction, lambda: datetime.now(UTC), lambda _: None)

    [event] = feed_of(books.engine, CLIENT)[0]
    assert event.type is EventType.REJECTED
    assert event.data["rejection"]["code"] == "operator_rejected"
    assert decided.pending is not None

"""The log of deliveries, and asking for them again."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from domain.fields import timestamp_text
from storage import deliveries, endpoints
from storage.deliveries import Round, current_round
from storage.secrets import Sealed
from tests.bookkeeping import CLIENT, NOW, OTHER_CLIENT
from tests.deliveries import FAILED, TAKEN, TIMED_OUT, add_delivery
from tests.storage.conftest import Books

MARK = {"at": "2026-11-23T11:00:00.000Z", "redeliver": "client"}
MARKED_AT = datetime(2026, 11, 23, 11, tzinfo=UTC)


@pytest.fixture
def endpoint_id(books: Books) -> str:
    return add_endpoint(books)


def add_endpoint(books: Books) -> str:
    made = str(uuid.uuid4())
    with books.engine.begin() as connection:
        sealed = Sealed("key", b"sealed")
        events = ["instruction.succeeded"]
        endpoints.create(connection, CLIENT, made, "https://a.example/", events, sealed)
    return made


def again(books: Books, endpoint_id: str, event_id: str, client_id: int = CLIENT) -> Any:
    with books.engine.begin() as connection:
        return deliveries.redeliver(connection, client_id, endpoint_id, event_id)


def listed(books: Books, endpoint_id: str, limit: int = 100, **named: Any) -> list[str]:
    found = deliveries.list_deliveries(books.engine, CLIENT, endpoint_id, limit, **named)
    assert found is not None
    return [each.event_id for each in found]


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([], Round(0, NOW)),
        ([FAILED], Round(1, NOW)),
        ([FAILED] * 10, Round(10, NOW)),
        ([FAILED, MARK], Round(0, MARKED_AT)),
        ([MARK, FAILED, TIMED_OUT], Round(2, MARKED_AT)),
        ([FAILED, MARK, TAKEN, MARK | {"at": "2026-11-24T00:00:00.000Z"}, FAILED],
         Round(1, datetime(2026, 11, 24, tzinfo=UTC))),
    ],
)  # fmt: skip
def test_a_round_is_what_came_after_it_was_last_asked_for(
    attempts: list[dict[str, Any]], expected: Round
):
    assert current_round(attempts, NOW) == expected


def test_deliveries_come_newest_first_page_by_page(books: Books, endpoint_id: str):
    # Two of the same moment, apart by microseconds, and in partitions of several days.
    times = [NOW, NOW, NOW + timedelta(microseconds=1), NOW + timedelta(days=1)]
    added = [(at, add_delivery(books.engine, endpoint_id, at)) for at in times]
    add_delivery(books.engine, add_endpoint(books), NOW)
    newest_first = [event_id for _, event_id in sorted(added, reverse=True)]

    assert listed(books, endpoint_id) == newest_first
    seen: list[str] = []
    place = None
    while page := deliveries.list_deliveries(books.engine, CLIENT, endpoint_id, 1, before=place):
        seen.append(page[0].event_id)
        place = page[0].place
    assert seen == newest_first


def test_deliveries_are_told_apart_by_their_status(books: Books, endpoint_id: str):
    taken = add_delivery(books.engine, endpoint_id, NOW)
    waiting = add_delivery(books.engine, endpoint_id, NOW, "pending", (TIMED_OUT,))

    assert listed(books, endpoint_id, status="pending") == [waiting]
    assert listed(books, endpoint_id, status="delivered") == [taken]
    assert listed(books, endpoint_id, status="exhausted") == []
    assert deliveries.count_pending(books.engine) == {endpoint_id: 1}


def test_a_delivery_shows_its_attempts(books: Books, endpoint_id: str):
    event_id = add_delivery(books.engine, endpoint_id, NOW, "delivered", (TIMED_OUT, TAKEN))

    found = deliveries.list_deliveries(books.engine, CLIENT, endpoint_id, 1)

    assert found is not None
    assert found[0].view() == {
        "id": event_id,
        "type": "instruction.succeeded",
        "timestamp": timestamp_text(NOW),
        "status": "delivered",
        "next_attempt_at": None,
        "delivered_at": TAKEN["at"],
        "attempts": [TIMED_OUT, TAKEN],
    }


@pytest.mark.parametrize("status", ["pending", "delivered", "exhausted"])
def test_one_that_is_asked_for_again_is_due_and_has_a_new_round(
    books: Books, endpoint_id: str, status: str
):
    event_id = add_delivery(books.engine, endpoint_id, NOW, status, (FAILED,) * 10)
    other_id = add_delivery(books.engine, endpoint_id, NOW, status)

    for _ in range(3):  # However often: one mark.
        asked = again(books, endpoint_id, event_id)

    assert asked.event_id == event_id
    assert asked.status == "pending"
    assert asked.next_attempt_at <= datetime.now(UTC)
    assert asked.delivered_at is None
    assert asked.attempts[:10] == [FAILED] * 10
    assert len(asked.attempts) == 11
    assert asked.attempts[10]["redeliver"] == "client"
    counted = current_round(asked.attempts, NOW)
    assert counted.attempts == 0
    assert abs(counted.since - datetime.now(UTC)) < timedelta(seconds=10)
    assert books.rows("SELECT status FROM deliveries WHERE event_id = :id", id=other_id) == [
        (status,)
    ]


def test_asking_again_ends_the_pause_of_an_endpoint_that_fails(books: Books, endpoint_id: str):
    event_id = add_delivery(books.engine, endpoint_id, NOW, "exhausted", (FAILED,))
    with books.engine.begin() as connection:
        connection.execute(
            text("UPDATE callback_endpoints SET failing_since = now(), probe_at = now() + '5m'")
        )

    again(books, endpoint_id, event_id)

    assert books.rows(
        "SELECT probe_at <= now(), failing_since IS NULL FROM callback_endpoints"
    ) == [(True, False)]


def test_another_clients_deliveries_are_not_there(books: Books, endpoint_id: str):
    event_id = add_delivery(books.engine, endpoint_id, NOW)

    assert again(books, endpoint_id, event_id, OTHER_CLIENT) is None
    assert again(books, str(uuid.uuid4()), event_id) is None
    assert again(books, endpoint_id, str(uuid.uuid4())) is None
    found = deliveries.list_deliveries(books.engine, OTHER_CLIENT, endpoint_id, 100)
    assert found is None
    assert books.rows("SELECT status FROM deliveries") == [("delivered",)]


def test_an_operator_has_all_since_a_time_sent_again_piece_by_piece(
    books: Books, endpoint_id: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deliveries, "_REDELIVERED_AT_ONCE", 2)
    add_delivery(books.engine, endpoint_id, NOW - timedelta(milliseconds=1))
    add_delivery(books.engine, add_endpoint(books), NOW + timedelta(hours=2))
    # More of one moment than a piece holds.
    times = [NOW] * 4 + [NOW + timedelta(hours=1)] * 3 + [NOW + timedelta(days=2)]
    asked = {add_delivery(books.engine, endpoint_id, at) for at in times}

    counts: list[int] = []
    place: datetime | None = NOW
    while place is not None:
        with books.engine.begin() as connection:
            count, place = deliveries.redeliver_some_since(connection, endpoint_id, place)
        counts.append(count)

    assert len(counts) > 1
    assert sum(counts) == len(asked)
    pending = books.rows("SELECT event_id FROM deliveries WHERE status = 'pending'")
    assert {event_id for (event_id,) in pending} == asked

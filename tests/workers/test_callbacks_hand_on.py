"""From the outbox to deliveries and to partners' queues, whatever the broker does."""

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import amqp
import pytest

import storage.handing_on
from config import broker
from ops.stack.services import Services
from producers.connection import connection, open_channel
from storage import clients, delivering
from storage.engine import callbacks_engine
from storage.events import Written
from storage.handing_on import INSTRUCTIONS_AT_ONCE, ROWS_AT_ONCE, taken_at_once
from tests.bookkeeping import CLIENT, OTHER_CLIENT, transfer
from tests.workers.callback_house import CallbackHouse
from tests.workers.house import PARTITIONS
from workers.callbacks.hand_on import HandOn
from workers.partners.outbound import Outbound


@pytest.fixture
def house(services: Services, tmp_path: Path) -> Iterator[CallbackHouse]:
    made = CallbackHouse(services, tmp_path)
    yield made
    made.close()


@contextmanager
def handing_on(house: CallbackHouse, broker_url: str, told: list[str]) -> Iterator[HandOn]:
    engine = callbacks_engine(house.settings)
    outbound = Outbound(broker_url, confirm_timeout_s=1)
    yield HandOn(engine, outbound, told.append)
    outbound.close()
    engine.dispose()


def left_pending(house: CallbackHouse) -> int:
    return int(house.rows("SELECT count(*) FROM events WHERE pending")[0][0])


def make_old(house: CallbackHouse) -> list[tuple[str, int, int]]:
    """Have all rows wait for long, and name those that do."""
    house.run("UPDATE events SET at = at - interval '10 seconds'")
    rows = house.rows(
        "SELECT at, xact, sum(cardinality(instruction_ids)) AS instructions"
        " FROM events WHERE pending GROUP BY at, xact"
    )
    return [(row.at.isoformat(), row.xact, int(row.instructions)) for row in rows]


def test_what_is_for_a_partner_waits_for_the_broker_and_its_endpoint_does_not(
    house: CallbackHouse,
) -> None:
    endpoint = house.endpoint("http://127.0.0.1:9/", ["instruction.succeeded"])
    house.run(f"INSERT INTO partners (client_id, rate_per_s) VALUES ({CLIENT}, 100)")
    house.decide(house.transfers(20))
    refs = make_old(house)
    told: list[str] = []

    with handing_on(house, "amqp://nobody:nothing@127.0.0.1:9/none", told) as away:
        away.named(refs)
        assert left_pending(house) > 0
        assert house.statuses(endpoint) == {"pending": 20}
        assert told == [endpoint.id]

    url = house.settings.broker_url.get_secret_value()
    received = _bound(url)
    with handing_on(house, url, told) as back:
        back.left()

    assert left_pending(house) == 0
    assert house.statuses(endpoint) == {"pending": 20}, "they were added once"
    events = _drained(received)
    assert len({event["id"] for event in events}) == len(events) == 60
    assert {event["type"] for event in events} == {"instruction.succeeded", "entry.posted"}


def test_what_many_threads_name_at_once_is_handed_on_once_and_completely(
    house: CallbackHouse,
) -> None:
    endpoint = house.endpoint("http://127.0.0.1:9/", ["instruction.succeeded"])
    for turn in range(60):
        house.decide(house.transfers(2, prefix=f"turn-{turn}"))
    refs = make_old(house)
    told: list[str] = []
    url = house.settings.broker_url.get_secret_value()

    with handing_on(house, url, told) as both:
        threads = [threading.Thread(target=both.named, args=([ref],)) for ref in refs + refs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert left_pending(house) == 0
    assert house.statuses(endpoint) == {"pending": 120}


def test_a_transaction_hands_on_many_small_rows_or_few_large_ones() -> None:
    now = datetime.now(UTC)
    small = deque(Written(now, xact, 2) for xact in range(ROWS_AT_ONCE + 1))
    large = deque(Written(now, xact, INSTRUCTIONS_AT_ONCE // 2) for xact in range(3))
    huge = deque([Written(now, 1, INSTRUCTIONS_AT_ONCE + 1)] * 2)

    assert len(taken_at_once(small)) == ROWS_AT_ONCE
    assert len(taken_at_once(large)) == 2
    assert len(taken_at_once(huge)) == 1
    assert [len(small), len(large), len(huge)] == [1, 1, 1]


def test_more_rows_than_one_transaction_takes_are_handed_on_and_each_once(
    house: CallbackHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.handing_on, "ROWS_AT_ONCE", 5)
    endpoint = house.endpoint("http://127.0.0.1:9/", ["instruction.succeeded"])
    for turn in range(4):
        house.decide(house.transfers(PARTITIONS, prefix=f"t{turn}-"))
    refs = make_old(house)
    assert len(refs) > 2 * 5
    told: list[str] = []

    with handing_on(house, house.settings.broker_url.get_secret_value(), told) as here:
        here.left()
        here.left()
        here.named(refs)

    assert left_pending(house) == 0
    assert house.statuses(endpoint) == {"pending": 4 * PARTITIONS}
    assert set(told) == {endpoint.id}


@pytest.mark.parametrize("by", ["name", "sweep"])
def test_a_client_with_many_endpoints_is_served_in_pieces(
    house: CallbackHouse, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(storage.handing_on, "DELIVERIES_AT_ONCE", 5)
    endpoints = [house.endpoint(f"http://127.0.0.1:9/{number}") for number in range(4)]
    for turn in range(3):
        house.decide(house.transfers(2, prefix=f"turn-{turn}-"))
    refs = make_old(house)

    with handing_on(house, house.settings.broker_url.get_secret_value(), []) as here:
        if by == "name":
            here.named(refs)
        else:
            here.left()

    assert left_pending(house) == 0
    # Each transfer is an outcome, a debit and a credit.
    for endpoint in endpoints:
        assert house.statuses(endpoint) == {"pending": 3 * 2 * 3}


def test_what_a_worker_whose_clock_is_ahead_told_is_found_at_once(house: CallbackHouse) -> None:
    endpoint = house.endpoint("http://127.0.0.1:9/", ["instruction.succeeded"])
    house.decide(house.transfers(2))
    house.run("UPDATE events SET at = at + interval '1 hour'")
    told: list[str] = []

    with handing_on(house, house.settings.broker_url.get_secret_value(), told) as here:
        here.left()

    assert left_pending(house) == 0
    assert house.statuses(endpoint) == {"pending": 2}


def test_a_partners_queue_that_takes_nothing_keeps_nothing_from_the_others(
    house: CallbackHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows wait for it: they are older than what the others wait for."""
    monkeypatch.setattr(storage.handing_on, "ROWS_AT_ONCE", 3)
    with house.engine.begin() as connection:
        other = clients.add_client(connection, "other", [], who="tests", reason="tests")
    assert other == OTHER_CLIENT
    for client_id in (CLIENT, other):
        house.run(f"INSERT INTO partners (client_id, rate_per_s) VALUES ({client_id}, 100)")
    url = house.settings.broker_url.get_secret_value()
    full = _bound(url, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    received = _bound(url, "other")
    for turn in range(4):
        house.decide(house.transfers(1, prefix=f"turn-{turn}-"))
    house.decide([transfer("theirs", house.names[0], house.names[1], 1, client_id=other)])
    make_old(house)

    with handing_on(house, url, []) as here:
        here.left()

    assert [event["type"] for event in _drained(received, "other")] == ["instruction.rejected"]
    assert left_pending(house) == 4
    full.connection.close()


@pytest.mark.parametrize("by", ["name", "sweep"])
def test_a_queue_that_takes_nothing_keeps_nothing_from_whom_the_same_transaction_told(
    house: CallbackHouse, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Its client's deliveries alone are more than go at once, and its row comes first."""
    monkeypatch.setattr(storage.handing_on, "DELIVERIES_AT_ONCE", 1)
    with house.engine.begin() as connection:
        other = clients.add_client(connection, "other", [], who="tests", reason="tests")
    house.run(f"INSERT INTO partners (client_id, rate_per_s) VALUES ({CLIENT}, 100)")
    mine = house.endpoint("http://127.0.0.1:9/")
    theirs = house.endpoint("http://127.0.0.1:9/", client_id=other)
    url = house.settings.broker_url.get_secret_value()
    full = _bound(url, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    names = house.names[0], house.names[1]
    house.decide([transfer("mine", *names, 1), transfer("theirs", *names, 1, client_id=other)])
    refs = make_old(house)
    assert len(refs) == 1

    with handing_on(house, url, []) as here:
        if by == "name":
            here.named(refs)
        else:
            here.left()

    assert left_pending(house) == 1
    assert house.statuses(mine) == {"pending": 3}
    assert house.statuses(theirs) == {"pending": 1}
    full.connection.close()


def test_while_a_message_to_a_deliverer_is_on_its_way_no_other_is_sent(
    house: CallbackHouse,
) -> None:
    """Found by the torture: of a thousand small rows each sent one, and all came to nothing."""
    endpoint = house.endpoint("http://127.0.0.1:9/", ["instruction.succeeded"])
    told: list[str] = []
    with handing_on(house, house.settings.broker_url.get_secret_value(), told) as here:
        for turn in range(3):
            house.decide(house.transfers(1, prefix=f"turn-{turn}-"))
            here.named(make_old(house))
        assert told == [endpoint.id]

        with house.engine.begin() as connection:
            lease = delivering.take_lease(connection, endpoint.id)
            assert lease is not None
            delivering.postpone(connection, lease, wait_s=0.0)
        house.decide(house.transfers(1, prefix="later-"))
        here.named(make_old(house))
        assert told == [endpoint.id] * 2, "the message had arrived"

        house.run("UPDATE callback_endpoints SET asked_at = now() - interval '1.1 s'")
        house.decide(house.transfers(1, prefix="at-last-"))
        here.named(make_old(house))
        assert told == [endpoint.id] * 3, "the message was lost"


def test_an_endpoint_that_was_disabled_meanwhile_gets_nothing(house: CallbackHouse) -> None:
    endpoint = house.endpoint("http://127.0.0.1:9/")
    house.decide(house.transfers(3))
    house.run("UPDATE callback_endpoints SET enabled = false, disabled_at = now()")
    told: list[str] = []

    with handing_on(house, house.settings.broker_url.get_secret_value(), told) as here:
        here.named(make_old(house))

    assert left_pending(house) == 0
    assert house.statuses(endpoint) == {}
    assert told == []


def _bound(
    url: str, partner: str = "tests", arguments: dict[str, object] | None = None
) -> amqp.Channel:
    """A channel on which a partner's queue exists, with other arguments if they are given."""
    opening = connection(url, "test")
    channel = open_channel(opening)
    queue = broker.outbox_queue(partner)
    chosen = queue.arguments if arguments is None else arguments
    channel.queue_declare(queue.name, durable=True, auto_delete=False, arguments=chosen)
    channel.queue_bind(queue.name, queue.exchange, queue.routing_key)
    return channel


def _drained(channel: amqp.Channel, partner: str = "tests") -> list[dict[str, str]]:
    found = []
    while (
        message := channel.basic_get(broker.outbox_queue(partner).name, no_ack=True)
    ) is not None:
        found.append(json.loads(message.body))
    channel.connection.close()
    return found

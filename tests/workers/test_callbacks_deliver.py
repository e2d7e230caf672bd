"""How an endpoint is delivered to, whatever its receiver does; real rows, real requests."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.stack.services import Services
from tests.support import wait_until
from tests.workers import receiver as receivers
from tests.workers.callback_house import CallbackHouse
from tests.workers.receiver import Answer, Received, receiving
from workers.callbacks import deliver, sender
from workers.callbacks.deliver import Deliverer
from workers.callbacks.door import IN_FLIGHT


@pytest.fixture
def house(services: Services, tmp_path: Path) -> Iterator[CallbackHouse]:
    made = CallbackHouse(services, tmp_path)
    yield made
    made.close()


def test_a_receiver_that_fails_in_every_way_gets_every_event_in_the_end(
    house: CallbackHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "TIMEOUT_S", 0.3)
    draw = random.Random(4)
    troubles = [
        Answer(500),
        Answer(503),
        Answer(429),
        Answer(301, (("Location", "/elsewhere"),)),
        Answer(404, body=bytes(5 * 1024 * 1024)),
        Answer(close=True),
        Answer(hang=True),
    ]

    def half_of_the_time(*_: Any) -> Answer:
        if draw.random() < 0.5:
            return draw.choices([Answer(204), Answer(200, body=bytes(5 * 1024 * 1024))], [19, 1])[0]
        # Those that take long are seldom, so that the test is not.
        return draw.choices(troubles, [20, 20, 20, 20, 2, 20, 1])[0]

    with receiving(half_of_the_time) as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.tell(1000)
        with house.deliverer() as deliverer:
            for _ in range(60):
                while deliverer.deliver(endpoint.id):
                    pass
                if house.statuses(endpoint).get("pending", 0) == 0:
                    break
                house.pass_time(endpoint, 1)

    statuses = house.statuses(endpoint)
    assert statuses["delivered"] >= 990, "half of the time is not ten times in a row"
    assert sum(statuses.values()) == 1000
    delivered = {row.id for row in house.deliveries(endpoint) if row.status == "delivered"}
    assert delivered <= set(receiver.ids())
    assert len({one.id for one in receiver.received}) == 1000
    tries = Counter(one.id for one in receiver.received)
    assert max(tries.values()) <= 11, "ten, and one over a connection that was closed meanwhile"
    told = {attempt.get("error") for row in house.deliveries(endpoint) for attempt in row.attempts}
    assert told == {None, "timeout", "connection closed"}


def test_an_endpoint_down_for_a_day_catches_up_at_once(house: CallbackHouse) -> None:
    with receiving(lambda *_: Answer(503)) as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        with house.deliverer() as deliverer:
            for _ in range(24):
                house.tell(10)
                deliverer.deliver(endpoint.id)
                house.pass_time(endpoint, 1)
            failing = house.row(endpoint)
            asked = len(receiver.received)
            receiver.behave = lambda *_: Answer(204)
            deliverer.deliver(endpoint.id)

    assert failing.failing_since is not None
    assert asked < 60, "one event at a time is asked with, not all of them"
    assert house.statuses(endpoint) == {"delivered": 240}
    assert house.row(endpoint).failing_since is None
    assert house.row(endpoint).probe_at is None


def test_what_is_never_taken_is_exhausted_after_ten_attempts(house: CallbackHouse) -> None:
    with receiving(lambda *_: Answer(500)) as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.tell(1)
        with house.deliverer() as deliverer:
            for _ in range(20):
                deliverer.deliver(endpoint.id)
                house.pass_time(endpoint, 27)

    assert len(receiver.received) == 10
    [row] = house.deliveries(endpoint)
    assert row.status == "exhausted"
    assert [attempt["status"] for attempt in row.attempts] == [500] * 10
    assert len({one.id for one in receiver.received}) == 1


def test_what_an_endpoint_that_fails_for_days_left_untried_is_exhausted_too(
    house: CallbackHouse,
) -> None:
    with receiving(lambda *_: Answer(500)) as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.tell(20)
        with house.deliverer() as deliverer:
            deliverer.deliver(endpoint.id)
            at_first = len(receiver.received)
            house.pass_time(endpoint, 76)
            deliverer.deliver(endpoint.id)

    assert at_first < 2 * IN_FLIGHT
    assert len(receiver.received) == at_first + 1
    assert house.statuses(endpoint)["exhausted"] >= 20 - at_first


def test_an_event_that_is_never_taken_does_not_keep_the_others(house: CallbackHouse) -> None:
    poison: list[str] = []

    def behave(received: Received, before: int) -> Answer:
        if before == 0:
            poison.append(received.id)
        return Answer(500 if received.id in poison else 204)

    with receiving(behave) as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        with house.deliverer() as deliverer:
            for _ in range(10):
                house.tell(5)
                deliverer.deliver(endpoint.id)
                house.pass_time(endpoint, 0.01)
                deliverer.deliver(endpoint.id)

    assert house.statuses(endpoint) == {"delivered": 49, "pending": 1}
    [waiting] = [row for row in house.deliveries(endpoint) if row.status == "pending"]
    assert len(waiting.attempts) <= 4, "its three days are not used up by the others' luck"


def test_410_disables_the_endpoint_and_says_why(house: CallbackHouse) -> None:
    with receiving(lambda *_: Answer(410)) as receiver:
        endpoint = house.endpoint(receiver.url)
        house.tell(100)
        with house.deliverer() as deliverer:
            deliverer.deliver(endpoint.id)
            deliverer.deliver(endpoint.id)

    row = house.row(endpoint)
    assert row.enabled is False
    assert row.disabled_at is not None
    assert row.disabled_reason == "answered 410 Gone"
    assert len(receiver.received) <= 8


def test_a_receiver_that_asks_for_patience_gets_it(house: CallbackHouse) -> None:
    with receiving(lambda *_: Answer(429, (("Retry-After", "1800"),))) as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.tell(100)
        with house.deliverer() as deliverer:
            deliverer.deliver(endpoint.id)
            told_at_first = len(receiver.received)
            deliverer.deliver(endpoint.id)
            house.pass_time(endpoint, 0.4)
            deliverer.deliver(endpoint.id)
            assert len(receiver.received) == told_at_first
            receiver.behave = lambda *_: Answer(204)
            house.pass_time(endpoint, 0.2)
            deliverer.deliver(endpoint.id)

    assert told_at_first <= 8
    assert house.statuses(endpoint) == {"delivered": 100}


def test_patience_asked_for_at_the_end_of_a_batch_is_not_forgotten_over_the_next_one(
    house: CallbackHouse,
) -> None:
    """Some of the next batch are on their way by then, and are accepted."""

    def behave(_: Received, before: int) -> Answer:
        if before == deliver.SENT_AT_ONCE - 4:
            return Answer(429, (("Retry-After", "1800"),))
        return Answer(204)

    with receiving(behave) as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.tell(3 * deliver.SENT_AT_ONCE)
        with house.deliverer() as deliverer:
            assert deliverer.deliver(endpoint.id) is False
            told_at_first = len(receiver.received)
            deliverer.deliver(endpoint.id)

    assert len(receiver.received) == told_at_first < deliver.SENT_AT_ONCE + IN_FLIGHT
    assert house.statuses(endpoint)["delivered"] == told_at_first - 1
    row = house.row(endpoint)
    assert row.failing_since is not None
    assert row.leased_until is None
    assert (row.probe_at - row.failing_since).total_seconds() > 1700


def test_two_who_deliver_at_once_send_each_event_once(house: CallbackHouse) -> None:
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.tell(300)
        with house.deliverer() as one, house.deliverer() as other:
            both = [
                threading.Thread(target=deliverer.deliver, args=(endpoint.id,))
                for deliverer in (one, other)
                for _ in range(4)
            ]
            for thread in both:
                thread.start()
            for thread in both:
                thread.join()

    assert len(receiver.received) == 300
    assert house.statuses(endpoint) == {"delivered": 300}
    assert receiver.in_flight_most <= 8


def test_a_lease_that_nobody_renews_runs_out_and_one_that_was_lost_marks_no_health(
    house: CallbackHouse,
) -> None:
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.tell(3)
        house.run("UPDATE callback_endpoints SET leased_until = now() + interval '30 seconds'")
        with house.deliverer() as deliverer:
            assert deliverer.deliver(endpoint.id) is False
            assert receiver.received == []
            house.pass_time(endpoint, 0.01)
            deliverer.deliver(endpoint.id)

    assert house.statuses(endpoint) == {"delivered": 3}


def test_a_url_that_was_changed_meanwhile_gets_the_rest(house: CallbackHouse) -> None:
    with receiving() as before, receiving() as after:
        endpoint = house.endpoint(before.url, ["instruction.succeeded"])
        house.tell(3 * deliver.SENT_AT_ONCE)

        def change(*_: Any) -> Answer:
            house.run(f"UPDATE callback_endpoints SET url = '{after.url}'")
            return Answer(204)

        before.behave = lambda _, seen: change() if seen == 50 else Answer(204)
        with house.deliverer() as deliverer:
            deliverer.deliver(endpoint.id)

    # The batch after the one that is on its way may be on its way too.
    assert len(before.received) in (deliver.SENT_AT_ONCE, 2 * deliver.SENT_AT_ONCE)
    assert len(before.received) + len(after.received) == 3 * deliver.SENT_AT_ONCE


def test_endpoints_that_hang_leave_places_for_those_that_do_not(house: CallbackHouse) -> None:
    places = 4
    with receiving(lambda *_: Answer(hang=True)) as hanging, receiving() as receiver:
        bad = [house.endpoint(hanging.url, ["instruction.succeeded"]) for _ in range(places)]
        good = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.run("UPDATE callback_endpoints SET failing_since = now(), probe_at = now()")
        house.run(
            "UPDATE callback_endpoints SET failing_since = NULL, probe_at = NULL"
            f" WHERE id = '{good.id}'"
        )
        house.tell(8)
        with house.deliverer(places) as deliverer:
            threads = [
                threading.Thread(target=deliverer.deliver, args=(endpoint.id,)) for endpoint in bad
            ]
            for thread in threads:
                thread.start()
            wait_until(lambda: hanging.in_flight == places // 2, what="probes of what hangs")
            deliverer.deliver(good.id)
            assert len(receiver.received) == 8
            hanging.close()
            for thread in threads:
                thread.join()


def test_being_told_to_stop_ends_with_what_is_on_its_way(house: CallbackHouse) -> None:
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.tell(500)
        with house.deliverer() as deliverer:
            _stop_after(receiver, 30, deliverer)
            assert deliverer.deliver(endpoint.id) is False

    assert 30 <= len(receiver.received) < 60
    assert house.statuses(endpoint)["delivered"] == len(receiver.received)
    assert house.row(endpoint).leased_until is None


def _stop_after(receiver: receivers.Receiver, count: int, deliverer: Deliverer) -> None:
    def behave(_: Received, before: int) -> Answer:
        if before == count:
            deliverer.stop()
        return Answer(204)

    receiver.behave = behave

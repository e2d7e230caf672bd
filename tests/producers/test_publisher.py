"""The publisher on a real broker that does its work."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.stack.services import Services
from producers.publisher import Publisher
from tests.producers.place import Place, confirmed, reasons
from tests.support import wait_until


@pytest.fixture
def place(services: Services) -> Place:
    return Place(services.broker_url)


@pytest.fixture
def publisher(place: Place) -> Iterator[Publisher]:
    made = place.publisher()
    yield made
    made.close()


def test_confirmed_messages_are_in_the_queue_in_the_order_given(
    place: Place, publisher: Publisher
) -> None:
    first = publisher.publish([place.message(f"a{n}") for n in range(500)])
    second = publisher.publish([place.message("b", body=b"[" + b"1," * 50_000 + b"1]")])

    assert confirmed(first + second)
    assert place.held() == [*(f"a{n}" for n in range(500)), "b"]


def test_an_unroutable_message_is_returned_and_its_neighbours_are_confirmed(
    place: Place, publisher: Publisher
) -> None:
    outcomes = publisher.publish(
        [
            place.message("a"),
            place.message("b", key="nowhere"),
            place.message("c"),
            place.message("d", key="nowhere"),
        ]
    )

    assert reasons(outcomes) == [None, "returned", None, "returned"]
    assert place.held() == ["a", "c"]


def test_a_full_queue_nacks(services: Services) -> None:
    place = Place(services.broker_url, **{"x-max-length": 3})
    publisher = place.publisher()
    try:
        # The broker counts a little late, so that a burst may exceed the limit.
        outcomes = [publisher.publish([place.message(str(n))])[0] for n in range(50)]
    finally:
        publisher.close()

    assert set(reasons(outcomes)) == {None, "nacked"}
    assert place.held() == [str(n) for n, outcome in enumerate(outcomes) if outcome is None]


def test_a_missing_exchange_fails_what_is_on_its_way_and_no_more(
    place: Place, publisher: Publisher
) -> None:
    assert confirmed(publisher.publish([place.message("a")]))
    astray = Place(place.broker_url).message("b")

    assert reasons(publisher.publish([astray])) == ["closed"]

    assert confirmed(publisher.publish([place.message("c")]))
    assert place.held() == ["a", "c"]


def test_a_message_that_the_broker_finds_too_large_is_not_confirmed(
    place: Place, publisher: Publisher
) -> None:
    assert reasons(publisher.publish([place.message("a", body=b"1" * 200_000)])) == ["closed"]
    assert confirmed(publisher.publish([place.message("b")]))
    assert place.held() == ["b"]


def test_each_of_64_threads_has_its_messages_confirmed_and_in_its_own_order(
    place: Place, publisher: Publisher
) -> None:
    def work(thread: int) -> None:
        for n in range(0, 30, 3):
            assert confirmed(publisher.publish([place.message(f"{thread}.{n}")]))
            pair = [place.message(f"{thread}.{n + 1}"), place.message(f"{thread}.{n + 2}")]
            assert confirmed(publisher.publish(pair))

    with ThreadPoolExecutor(64) as pool:
        for done in [pool.submit(work, thread) for thread in range(64)]:
            done.result()

    order = defaultdict(list)
    for message_id in place.held():
        thread, n = message_id.split(".")
        order[int(thread)].append(int(n))
    assert order == {thread: list(range(30)) for thread in range(64)}


def test_more_than_may_be_on_their_way_at_once_arrive_nevertheless(
    place: Place, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.courier.MAX_SENT", 50)
    bursts = [[place.message(f"{b}.{n}") for n in range(40)] for b in range(20)]

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(publisher.publish, bursts))

    assert all(confirmed(each) for each in outcomes)
    assert sorted(place.held()) == sorted(each.message_id for burst in bursts for each in burst)


def test_a_publisher_that_was_never_needed_starts_no_thread(place: Place) -> None:
    threads = set(threading.enumerate())
    publisher = place.publisher()

    assert publisher.publish([]) == []
    publisher.close()

    assert set(threading.enumerate()) == threads
    assert reasons(publisher.publish([place.message("a")])) == ["unavailable"]
    assert not publisher.ready()


def test_it_is_ready_once_it_is_connected(publisher: Publisher) -> None:
    wait_until(publisher.ready)


def test_rabbitmq_shows_whose_connection_it_is(
    services: Services, place: Place, publisher: Publisher
) -> None:
    assert confirmed(publisher.publish([place.message("a")]))

    shown = services.rabbitmq.ctl("list_connections", "client_properties", "--quiet")

    assert f"tekana {place.exchange} {os.getpid()}" in shown


def test_closing_leaves_no_thread_and_no_descriptor_and_refuses_what_comes_later(
    place: Place,
) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    threads, before = set(threading.enumerate()), descriptors()
    publisher = place.publisher()
    assert confirmed(publisher.publish([place.message("a")]))

    publisher.close()
    publisher.close()

    assert set(threading.enumerate()) == threads
    assert descriptors() == before
    assert not publisher.ready()
    started_s = time.monotonic()
    assert reasons(publisher.publish([place.message("b")])) == ["unavailable"]
    assert time.monotonic() - started_s < 0.1


def test_after_a_fork_parent_and_child_each_use_a_connection_of_their_own(
    services: Services, place: Place, publisher: Publisher
) -> None:
    assert confirmed(publisher.publish([place.message("before")]))
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        said = b"failed"
        try:
            if confirmed(publisher.publish([place.message(f"child{n}") for n in range(100)])):
                shown = services.rabbitmq.ctl("list_connections", "client_properties", "--quiet")
                names = [f"tekana {place.exchange} {pid}" for pid in (os.getppid(), os.getpid())]
                said = b"confirmed" if all(shown.count(name) == 1 for name in names) else b"shown"
            publisher.close()
        finally:
            os.write(writing, said)
            os._exit(0)
    assert publisher._courier is not None
    link = publisher._courier._link
    assert confirmed(publisher.publish([place.message(f"parent{n}") for n in range(100)]))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"confirmed"
    os.waitpid(child, 0)
    assert confirmed(publisher.publish([place.message("after")]))

    assert publisher._courier._link is link
    held = place.held()
    assert [each for each in held if each.startswith("child")] == [f"child{n}" for n in range(100)]
    assert [each for each in held if not each.startswith("child")] == [
        "before",
        *(f"parent{n}" for n in range(100)),
        "after",
    ]

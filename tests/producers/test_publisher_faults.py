"""The publisher when the broker is killed, frozen, short of memory or of another opinion."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import amqp
import pytest

from ops.stack.services import Services
from producers.courier import Courier
from producers.link import Link
from producers.messages import Unconfirmed
from producers.publisher import Publisher
from tests.producers.place import Place, channel_to, confirmed, reasons
from tests.support import wait_until

SLACK_S = 1.0
"""What a thread may need to be given the processor, on a machine that restarts a broker."""


@pytest.fixture
def place(services: Services) -> Place:
    place = Place(services.broker_url)
    with channel_to(services.broker_url) as channel:
        place.declare(channel)
    return place


@contextmanager
def connected(place: Place, confirm_timeout_s: float) -> Iterator[Publisher]:
    publisher = place.publisher(confirm_timeout_s)
    try:
        wait_until(publisher.ready)
        yield publisher
    finally:
        publisher.close()


@contextmanager
def frozen(services: Services) -> Iterator[None]:
    services.rabbitmq.pause()
    try:
        yield
    finally:
        services.rabbitmq.resume()


def courier_of(publisher: Publisher) -> Courier:
    assert publisher._courier is not None
    return publisher._courier


def link_of(publisher: Publisher) -> Link:
    link = courier_of(publisher)._link
    assert link is not None
    return link


def timed(call: Callable[[], list[Unconfirmed | None]]) -> tuple[list[str | None], float]:
    started_s = time.monotonic()
    outcomes = call()
    return reasons(outcomes), time.monotonic() - started_s


def at_once(publisher: Publisher, place: Place, reason: str) -> bool:
    """Whether a publish is refused for this reason, with no waiting."""
    outcomes, took_s = timed(lambda: publisher.publish([place.message("probe")]))
    return outcomes == [reason] and took_s < 0.2


def test_a_broker_killed_in_mid_burst_leaves_no_caller_waiting_and_loses_nothing_confirmed(
    services: Services, place: Place
) -> None:
    # RabbitMQ 3.10 takes half a second to write down the name of a new quorum queue. Killed
    # before that, the queue comes back empty and without a leader.
    declared_s = time.monotonic()
    wait_until(lambda: time.monotonic() > declared_s + 1.5)
    timeout_s = 2.0
    kept: list[str] = []
    slowest_s: list[float] = []
    with connected(place, timeout_s) as publisher, ThreadPoolExecutor(16) as pool:
        away = False

        def work(thread: int) -> None:
            for n in count():
                ids = [f"{thread}.{n}.{m}" for m in range(1 + thread % 3)]
                outcomes, took_s = timed(
                    partial(publisher.publish, [place.message(each) for each in ids])
                )
                slowest_s.append(took_s)
                kept.extend(each for each, why in zip(ids, outcomes, strict=True) if why is None)
                if away and "unavailable" in outcomes:
                    return

        working = [pool.submit(work, thread) for thread in range(16)]
        wait_until(lambda: len(kept) > 1000)
        services.rabbitmq.kill()
        away = True
        for done in working:
            done.result(30)
        assert max(slowest_s) < timeout_s + SLACK_S
        wait_until(lambda: at_once(publisher, place, "unavailable"))

        services.rabbitmq.start()
        wait_until(lambda: confirmed(publisher.publish([place.message("afterwards")])))

    held = set(place.held())
    assert held.issuperset(kept)
    assert "afterwards" in held


def test_a_broker_stopped_in_order_is_unavailable_at_once_and_found_again(
    services: Services, place: Place
) -> None:
    with connected(place, 5.0) as publisher:
        assert confirmed(publisher.publish([place.message("a")]))
        services.rabbitmq.stop()
        try:
            wait_until(lambda: at_once(publisher, place, "unavailable"))
            assert not publisher.ready()
        finally:
            services.rabbitmq.start()

        wait_until(publisher.ready)
        assert confirmed(publisher.publish([place.message("b")]))

    assert place.held() == ["a", "b"]


def test_connections_closed_by_force_are_made_again(services: Services, place: Place) -> None:
    with connected(place, 5.0) as publisher:
        before = link_of(publisher)
        services.rabbitmq.ctl("close_all_connections", "--global", "by an operator")

        assert publisher.publish([place.message("a")]) is not None
        wait_until(lambda: publisher.ready() and link_of(publisher) is not before)
        assert confirmed(publisher.publish([place.message("b")]))


def test_a_frozen_broker_costs_a_caller_its_timeout_and_no_more(
    services: Services, place: Place
) -> None:
    with connected(place, 5.0) as publisher:
        before = link_of(publisher)
        with frozen(services):
            outcomes, took_s = timed(lambda: publisher.publish([place.message("a")], 0.3))
            hurried, hurried_s = timed(lambda: publisher.publish([place.message("b")], 0.05))

        assert (outcomes, hurried) == (["timeout"], ["timeout"])
        assert 0.3 <= took_s < 0.3 + SLACK_S
        assert 0.05 <= hurried_s < 0.05 + SLACK_S
        # The late confirms of a and b meet neither c nor d.
        assert reasons(
            publisher.publish([place.message("c", key="nowhere"), place.message("d")])
        ) == ["returned", None]
        assert link_of(publisher) is before

    assert place.held() == ["a", "b", "d"]


def test_a_broker_frozen_for_long_is_given_up_and_found_again(
    services: Services, place: Place
) -> None:
    with connected(place, 0.3) as publisher:
        before = link_of(publisher)
        with frozen(services):
            assert reasons(publisher.publish([place.message("a")])) == ["timeout"]
            wait_until(lambda: at_once(publisher, place, "unavailable"))

        wait_until(publisher.ready)
        assert link_of(publisher) is not before
        assert confirmed(publisher.publish([place.message("b")], 5))


def test_more_callers_than_may_wait_are_refused_at_once(
    services: Services, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.courier.MAX_SENT", 1)
    monkeypatch.setattr("producers.courier.MAX_WAITING", 3)
    with connected(place, 10.0) as publisher, ThreadPoolExecutor(4) as pool:
        with frozen(services):
            callers = [pool.submit(publisher.publish, [place.message(str(n))]) for n in range(4)]
            wait_until(lambda: len(courier_of(publisher)._waiting) == 3)
            assert at_once(publisher, place, "unavailable")

        assert all(confirmed(caller.result()) for caller in callers)


def test_closing_waits_for_what_is_on_its_way(services: Services, place: Place) -> None:
    with connected(place, 10.0) as publisher, ThreadPoolExecutor(2) as pool:
        with frozen(services):
            publishing = pool.submit(
                publisher.publish, [place.message(str(n)) for n in range(2000)]
            )
            wait_until(lambda: len(link_of(publisher).confirms) == 2000)
            closing = pool.submit(publisher.close)

        assert confirmed(publishing.result())
        closing.result()

    assert len(place.held()) == 2000


def test_closing_does_not_wait_for_a_broker_that_is_frozen(
    services: Services, place: Place
) -> None:
    with connected(place, 0.3) as publisher, frozen(services):
        assert reasons(publisher.publish([place.message("a")])) == ["timeout"]
        started_s = time.monotonic()
        publisher.close()
        assert time.monotonic() - started_s < 4


def test_a_broker_short_of_memory_is_refused_at_once_until_it_recovers(
    services: Services, place: Place
) -> None:
    with connected(place, 1.0) as publisher:
        before = link_of(publisher)
        services.rabbitmq.ctl("set_vm_memory_high_watermark", "0")
        try:
            wait_until(lambda: at_once(publisher, place, "blocked"))
            assert not publisher.ready()
            # A blocked broker is silent: that is no reason to give up the connection.
            silent_until_s = time.monotonic() + 3
            wait_until(lambda: time.monotonic() > silent_until_s)
            assert at_once(publisher, place, "blocked")
        finally:
            services.rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1GB")

        wait_until(publisher.ready)
        assert confirmed(publisher.publish([place.message("a")], 5))
        assert link_of(publisher) is before


def test_an_unexpected_error_in_the_thread_is_logged_once_and_survived(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    faults = iter([True])

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    def declare(channel: amqp.Channel) -> None:
        place.declare(channel)
        if next(faults, False):
            channel.events["basic_return"].add(fail)

    publisher = place.publisher(5.0, declare)
    try:
        with caplog.at_level(logging.WARNING):
            secret = place.message("a", key="nowhere", body=b'"a secret"')
            assert reasons(publisher.publish([secret, place.message("b")])) == ["closed", "closed"]
            assert confirmed(publisher.publish([place.message("c")]))
    finally:
        publisher.close()

    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert "secret" not in caplog.text


def test_what_cannot_be_declared_is_told_and_refused(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    def declare(channel: amqp.Channel) -> None:
        channel.queue_declare(place.queue, durable=True, auto_delete=False)  # Not as it is.

    publisher = place.publisher(5.0, declare)
    try:
        assert reasons(publisher.publish([place.message("a")])) == ["unavailable"]
    finally:
        publisher.close()

    assert "PRECONDITION_FAILED" in caplog.text


def test_a_wrong_password_is_refused_and_not_told(
    services: Services, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher(
        services.broker_url.replace("tekana:", "tekana:wrong-", 1),
        name="stranger",
        confirm_timeout_s=5.0,
        declare=place.declare,
    )
    try:
        assert reasons(publisher.publish([place.message("a")])) == ["unavailable"]
    finally:
        publisher.close()

    assert "ACCESS_REFUSED" in caplog.text
    assert "wrong-" not in caplog.text

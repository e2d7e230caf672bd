"""How many letters are on their way to an endpoint at once, and when it gets no more."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.workers.letters import SECRET, letters
from tests.workers.receiver import Answer, Received, receiving
from workers.callbacks.door import IN_FLIGHT
from workers.callbacks.sender import Sender


def test_eight_are_on_their_way_at_once_over_connections_that_are_kept(
    open_sender: Callable[..., Sender],
) -> None:
    def behave(*_: Any) -> Answer:
        time.sleep(0.01)
        return Answer(200, body=b"thanks")

    with receiving(behave) as receiver:
        attempts = open_sender().start("endpoint", receiver.url, letters(100), [SECRET]).result()

    assert all(attempt is not None and attempt.accepted for attempt in attempts)
    assert sorted(receiver.ids()) == sorted(letter.event_id for letter in letters(100))
    assert receiver.in_flight_most == 8
    assert receiver.connections == 8


def test_nothing_more_is_sent_once_that_is_asked_for(open_sender: Callable[..., Sender]) -> None:
    sender = open_sender()

    def stopped_after_ten(_: Received, seen: int) -> Answer:
        if seen == 10:
            sender.stop()
        return Answer(204)

    with receiving(stopped_after_ten) as receiver:
        attempts = sender.start("endpoint", receiver.url, letters(50), [SECRET]).result()

    tried = [attempt for attempt in attempts if attempt is not None]
    assert 10 <= len(tried) < 20
    assert len(receiver.received) == len(tried)
    assert attempts[len(tried) :] == [None] * (50 - len(tried))


def test_nothing_more_is_sent_when_the_time_is_over(open_sender: Callable[..., Sender]) -> None:
    def slow(*_: object) -> Answer:
        time.sleep(0.2)
        return Answer(204)

    with receiving(slow) as receiver:
        attempts = (
            open_sender().start("endpoint", receiver.url, letters(50), [SECRET], for_s=0.3).result()
        )

    tried = [attempt for attempt in attempts if attempt is not None]
    assert len(receiver.received) == len(tried) == 2 * IN_FLIGHT


def test_letters_follow_those_on_their_way_to_the_same_endpoint(
    open_sender: Callable[..., Sender],
) -> None:
    """The eight share one another's places: neither waits for the last, nor are there sixteen."""

    def behave(*_: Any) -> Answer:
        time.sleep(0.01)
        return Answer(204)

    with receiving(behave) as receiver:
        sender = open_sender()
        first = sender.start("endpoint", receiver.url, letters(50), [SECRET])
        second = sender.start("endpoint", receiver.url, letters(50), [SECRET])
        attempts = [*first.result(), *second.result()]

    assert all(attempt is not None and attempt.accepted for attempt in attempts)
    assert receiver.in_flight_most == IN_FLIGHT
    assert sorted(receiver.ids()[:40]) == sorted(letter.event_id for letter in letters(50)[:40])


def test_endpoints_do_not_wait_for_each_other(open_sender: Callable[..., Sender]) -> None:
    with receiving(lambda *_: Answer(hang=True)) as hanging, receiving() as receiver:
        sender = open_sender()
        hung = sender.start("one", hanging.url, letters(20), [SECRET])
        attempts = sender.start("another", receiver.url, letters(20), [SECRET]).result(10)
        hanging.close()
        hung.result(10)

    assert all(attempt is not None and attempt.accepted for attempt in attempts)


@pytest.mark.parametrize(
    "refusal",
    [
        Answer(500),
        Answer(410),
        Answer(429, (("Retry-After", "60"),)),
    ],
    ids=["fails", "gone", "asks for a pause"],
)
def test_a_receiver_that_has_had_enough_is_left_alone(
    open_sender: Callable[..., Sender], refusal: Answer
) -> None:
    with receiving(lambda *_: refusal) as receiver:
        sender = open_sender()
        sent = [sender.start("endpoint", receiver.url, letters(100), [SECRET]) for _ in range(2)]
        attempts, following = [each.result() for each in sent]

    tried = [attempt for attempt in attempts if attempt is not None]
    assert following == [None] * 100
    assert 1 <= len(tried) < 2 * IN_FLIGHT
    assert len(receiver.received) == len(tried)

"""A confirm settles the message it is about, and no other."""

import threading

import pytest

from producers.confirms import Confirms, Handover, UnknownTag
from producers.messages import Outgoing, Unconfirmed


def handover(*message_ids: str) -> Handover:
    messages = [Outgoing("exchange", "key", b"{}", message_id) for message_id in message_ids]
    return Handover(messages, [b""] * len(messages))


def sent(confirms: Confirms, *message_ids: str) -> Handover:
    made = handover(*message_ids)
    assert made.take()
    confirms.sent(made)
    return made


def reasons(of: Handover) -> list[str | None]:
    return [
        outcome.reason if isinstance(outcome, Unconfirmed) else None for outcome in of.wait(0.001)
    ]


def ack(confirms: Confirms, tag: int, *, multiple: bool = False) -> None:
    confirms.answered(tag, multiple=multiple, reason=None)


def test_an_ack_confirms_its_own_message_only() -> None:
    confirms = Confirms()
    burst = sent(confirms, "a", "b", "c")

    ack(confirms, 2)

    assert reasons(burst) == ["timeout", None, "timeout"]


def test_an_ack_of_multiple_confirms_all_that_were_sent_before() -> None:
    confirms = Confirms()
    first, second = sent(confirms, "a", "b"), sent(confirms, "c", "d")

    ack(confirms, 3, multiple=True)

    assert reasons(first) == [None, None]
    assert reasons(second) == [None, "timeout"]


def test_a_nack_of_multiple_leaves_alone_what_was_settled_before() -> None:
    confirms = Confirms()
    burst = sent(confirms, "a", "b", "c", "d")

    ack(confirms, 2)
    confirms.answered(3, multiple=True, reason="nacked")
    ack(confirms, 4)

    assert reasons(burst) == ["nacked", None, "nacked", None]


def test_the_ack_that_follows_a_return_confirms_nothing_and_the_nack_after_it_is_heard() -> None:
    confirms = Confirms()
    first, second = sent(confirms, "a"), sent(confirms, "b")

    confirms.returned("a")
    ack(confirms, 1)
    confirms.answered(2, multiple=False, reason="nacked")

    assert reasons(first) == ["returned"]
    assert reasons(second) == ["nacked"]


def test_a_return_within_a_burst_spoils_no_neighbour() -> None:
    confirms = Confirms()
    burst = sent(confirms, "a", "b", "c")

    confirms.returned("b")
    ack(confirms, 3, multiple=True)

    assert reasons(burst) == [None, "returned", None]


def test_of_two_messages_with_one_id_neither_is_confirmed_when_one_came_back() -> None:
    confirms = Confirms()
    burst = sent(confirms, "a", "a")

    confirms.returned("a")
    ack(confirms, 1)
    ack(confirms, 2)

    assert reasons(burst) == ["returned", "returned"]


def test_a_message_sent_again_after_its_return_can_be_confirmed() -> None:
    confirms = Confirms()
    first = sent(confirms, "a")
    confirms.returned("a")
    again = sent(confirms, "a")

    ack(confirms, 2, multiple=True)

    assert reasons(first) == ["returned"]
    assert reasons(again) == [None]


def test_a_late_ack_settles_the_message_that_timed_out_and_not_the_next() -> None:
    confirms = Confirms()
    late = sent(confirms, "a")
    assert reasons(late) == ["timeout"]
    following = sent(confirms, "b")

    ack(confirms, 1)
    confirms.answered(2, multiple=False, reason="nacked")

    assert reasons(following) == ["nacked"]


def test_tags_of_another_channel_settle_nothing_here() -> None:
    former = Confirms()
    lost = sent(former, "a", "b")
    former.fail("closed")
    latter = Confirms()
    burst = sent(latter, "c")

    with pytest.raises(UnknownTag):
        ack(latter, 2)
    with pytest.raises(UnknownTag):
        ack(former, 1)

    assert reasons(lost) == ["closed", "closed"]
    assert reasons(burst) == ["timeout"]


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize("tag", [0, 1, 3])
def test_a_tag_that_waits_for_no_answer_is_an_error(tag: int, multiple: bool) -> None:
    confirms = Confirms()
    sent(confirms, "a", "b")
    ack(confirms, 1)

    with pytest.raises(UnknownTag):
        ack(confirms, tag, multiple=multiple)


def test_a_second_answer_is_an_error_even_while_an_older_message_waits() -> None:
    confirms = Confirms()
    sent(confirms, "a", "b")
    ack(confirms, 2)

    with pytest.raises(UnknownTag):
        ack(confirms, 2)


def test_what_its_caller_has_given_up_is_not_sent() -> None:
    waiting = handover("a")

    assert reasons(waiting) == ["unavailable"]
    assert not waiting.take()


def test_a_caller_wakes_when_the_last_of_its_messages_is_settled() -> None:
    confirms = Confirms()
    burst = sent(confirms, "a", "b")
    outcomes: list[Unconfirmed | None] = []
    caller = threading.Thread(target=lambda: outcomes.extend(burst.wait(10)))
    caller.start()

    ack(confirms, 2)
    assert caller.is_alive()
    ack(confirms, 1)
    caller.join(10)

    assert outcomes == [None, None]


def test_settled_messages_leave_nothing_behind() -> None:
    confirms = Confirms()
    for _ in range(100):
        sent(confirms, "a", "b", "c")
        confirms.returned("b")
    for tag in range(300, 0, -1):
        ack(confirms, tag)

    assert not confirms
    assert not confirms._sent
    assert not confirms._returned

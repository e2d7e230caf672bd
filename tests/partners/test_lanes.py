"""Two turns of one partner at work at once, and none that overtakes another."""

from typing import Any, cast

from storage.partners import Partner
from workers.inflow import properties
from workers.partners.lanes import TURN_MOST, InboxLane
from workers.partners.messages import received
from workers.partners.turn import Desk

_NO_PROPERTIES = b"\x00\x3c" + 12 * b"\0"
_NO_DESK = cast(Desk, None)


def lane_with(messages: int, rate_per_s: int = 1_000_000) -> InboxLane:
    lane = InboxLane(Partner(1, "bank", frozenset(), rate_per_s, None))
    for tag in range(1, messages + 1):
        lane.held.append(received(tag, b"{}", properties(_NO_PROPERTIES)))
    return lane


def begun(lane: InboxLane) -> Any:
    lane.begin(_NO_DESK)
    return lane.turn


def test_a_turn_takes_what_the_rate_allows_and_leaves_the_rest_in_order() -> None:
    lane = lane_with(30, rate_per_s=100)

    turn = begun(lane)

    assert turn.last_tag == 10
    assert [message.tag for message in lane.held] == [*range(11, 31)]


def test_a_turn_is_bounded_however_high_the_rate() -> None:
    assert begun(lane_with(TURN_MOST + 1)).last_tag == TURN_MOST


def test_a_turn_is_passed_on_once_it_is_taken_in_and_the_one_before_is_through() -> None:
    lane = lane_with(5)
    first = begun(lane)

    assert not lane.hand_over()
    first.is_taken_in = True
    assert lane.hand_over()
    assert (lane.turn, lane.passing.turn) == (None, first)

    lane.held = lane_with(5).held
    second = begun(lane)
    second.is_taken_in = True
    assert not lane.hand_over()
    lane.passing.turn = None
    assert lane.hand_over()
    assert lane.passing.turn is second


def test_a_turn_stays_until_its_thread_was_heard_though_its_work_is_done() -> None:
    """Otherwise that thread's end would be taken for an earlier turn's, and the lane stay busy:
    the turn before may be through between the two."""
    lane = lane_with(5)
    begun(lane).is_taken_in = True
    lane.busy = True

    assert not lane.hand_over()

    lane.busy = False
    assert lane.hand_over()


def test_what_is_given_back_is_forgotten_at_both_places() -> None:
    lane = lane_with(5)
    begun(lane).is_taken_in = True
    lane.hand_over()
    lane.passing.busy = True
    lane.held = lane_with(2).held

    lane.empty()

    assert (lane.held, lane.turn, lane.passing.turn, lane.passing.busy) == ([], None, None, False)
    assert lane.idle

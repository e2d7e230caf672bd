"""A worker that is busy lets its batches wait a little longer, and one that is not does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.busy import Busy

LINGER_S = 0.002


def busy_for(share: float, seconds: float = 2.0, each_s: float = 0.01) -> Busy:
    """A worker that has settled for this share of each hundredth of a second."""
    busy, now_s = Busy(), 1_000.0
    for _ in range(round(seconds / each_s)):
        now_s += each_s
        busy.spent(now_s - share * each_s, now_s)
    return busy


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
def test_the_share_is_that_of_its_time(share: float):
    assert busy_for(share).share == pytest.approx(share, abs=0.01)


def test_the_first_turn_of_a_worker_does_not_make_it_a_busy_one():
    busy = Busy()
    busy.spent(1_000.0, 1_000.005)

    assert busy.stretched(LINGER_S) == LINGER_S


def test_a_lone_transfer_does_not_wait_for_company():
    assert busy_for(0.29).stretched(LINGER_S) == LINGER_S


def test_a_worker_at_its_limit_gathers_for_eleven_times_as_long():
    assert busy_for(0.95).stretched(LINGER_S) == pytest.approx(11 * LINGER_S)


def test_a_pause_is_forgotten_work():
    busy = busy_for(1.0)
    busy.spent(1_004.0, 1_004.001)

    assert busy.stretched(LINGER_S) == LINGER_S


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10))), st.floats(0, 0.1))
def test_the_wait_is_never_shorter_and_never_beyond_its_bound(
    turns: list[tuple[float, float]], linger_s: float
):
    busy, now_s = Busy(), 0.0
    for idle_s, settling_s in turns:
        now_s += idle_s
        busy.spent(now_s, now_s + settling_s)
        now_s += settling_s

    assert 0 <= busy.share <= 1 + 1e-9
    assert linger_s <= busy.stretched(linger_s) <= 11 * linger_s + 1e-9

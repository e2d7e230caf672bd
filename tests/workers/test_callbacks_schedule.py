"""When a delivery is tried again, without a clock."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from workers.callbacks.schedule import (
    PROBE_LAST_S,
    RETRY_AFTER_MOST_S,
    ROUND_S,
    WAITS_S,
    probe_wait_s,
    retry_after_s,
    wait_s,
)

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def test_there_are_ten_attempts_in_about_three_days() -> None:
    waits = [wait_s(failures, 0) for failures in range(1, 10)]

    assert all(
        wait is not None and 0.9 * wanted <= wait <= 1.1 * wanted
        for wait, wanted in zip(waits, WAITS_S, strict=True)
    )
    assert 72 * 3600 < sum(WAITS_S) < 78 * 3600
    assert wait_s(10, 0) is None


def test_what_fails_after_75_hours_is_given_up_however_seldom_it_was_tried() -> None:
    assert wait_s(2, ROUND_S - 1) is not None
    assert wait_s(2, ROUND_S) is None


def test_no_two_waits_are_the_same() -> None:
    assert len({wait_s(1, 0) for _ in range(50)}) > 40


def test_an_endpoint_that_fails_is_asked_ever_more_seldom_up_to_a_bound() -> None:
    assert 4.5 <= probe_wait_s(0) <= 5.5
    assert 18 <= probe_wait_s(20) <= 22
    assert probe_wait_s(10**9) <= 1.1 * PROBE_LAST_S


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("120", 120),
        (" 0 ", 0),
        ("9" * 5000, RETRY_AFTER_MOST_S),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("²", None),
        (format_datetime(NOW.replace(minute=5), usegmt=True), 300),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_MOST_S),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(
    header: str | None, wanted: float | None
) -> None:
    assert retry_after_s(header, NOW) == wanted

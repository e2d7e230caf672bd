"""When a delivery is tried again, and when an endpoint that fails is.

Why these times: `docs/decisions/0063-delivery-schedule-and-circuit.md`.
"""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_HOUR: Final = 3600

WAITS_S: Final = (
    5,
    5 * 60,
    30 * 60,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
"""After the first, second, … failure: ten attempts in about three days."""

ROUND_S: Final = 75 * _HOUR
"""A delivery that fails after so long is not tried again, however few its attempts were."""

PROBE_FIRST_S: Final = 5
PROBE_LAST_S: Final = 5 * 60

RETRY_AFTER_MOST_S: Final = WAITS_S[-1]
"""A receiver may ask for as much patience as we have by ourselves, and no more."""

_JITTER: Final = 0.1


def wait_s(failures: int, age_s: float) -> float | None:
    """How long to wait after so many failures of a delivery of this age; None to give up."""
    if failures > len(WAITS_S) or age_s >= ROUND_S:
        return None
    return _jittered(WAITS_S[failures - 1])


def probe_wait_s(failing_for_s: float) -> float:
    """How long to leave an endpoint alone that has failed for so long: about as long again."""
    return _jittered(min(max(failing_for_s, PROBE_FIRST_S), PROBE_LAST_S))


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """What `Retry-After` asks for, in seconds or as a date; None if it is missing or no sense.

    Never less than 0, and bounded.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        # More digits than this are more than the bound, and int() would not take any number.
        wanted = float(text[:10])
    else:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        wanted = (moment - now).total_seconds()
    return min(max(wanted, 0.0), float(RETRY_AFTER_MOST_S))


def _jittered(seconds: float) -> float:
    """Ten per cent more or less: what failed together must not come back together."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  No secret.

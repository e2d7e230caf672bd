"""Beat: has callback workers look again and again, whatever its clock says."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ops.stack.services import Services
from tests.support import settings_for
from workers.callbacks import beat
from workers.callbacks.app import ROLL_DAYS, SWEEP_DUE, SWEEP_EVENTS, callbacks_app


@pytest.fixture
def scheduler(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A scheduler that notes in `told` whom it tells."""
    app = callbacks_app(settings_for(services))
    app.conf.beat_schedule = beat.schedule()
    made = beat._scheduler(None)(app=app, max_interval=1)
    made.told = []
    monkeypatch.setattr(made, "apply_async", lambda entry, **_: made.told.append(entry.name))
    yield made
    made.connection.close()


def tick_until(scheduler: Any, told: list[str]) -> float:
    """Tick as beat does, until so much was told; the seconds that it took."""
    began_s = time.monotonic()
    while len(scheduler.told) < len(told) and time.monotonic() < began_s + 10:
        time.sleep(min(scheduler.tick(), 0.1))
    assert sorted(scheduler.told) == sorted(told)
    return time.monotonic() - began_s


def test_it_tells_everything_at_once_and_then_each_at_its_time(scheduler: Any) -> None:
    assert tick_until(scheduler, [SWEEP_DUE, SWEEP_EVENTS, ROLL_DAYS]) < 0.5

    scheduler.told.clear()
    assert 1.5 < tick_until(scheduler, [SWEEP_DUE, SWEEP_DUE, SWEEP_EVENTS]) < 3


def test_a_clock_that_was_ahead_for_a_while_delays_nothing(scheduler: Any) -> None:
    """Found by the torture: set back by an hour, it told nothing for an hour."""
    tick_until(scheduler, [SWEEP_DUE, SWEEP_EVENTS, ROLL_DAYS])
    for entry in scheduler.schedule.values():
        entry.last_run_at += timedelta(hours=1)

    scheduler.told.clear()
    assert tick_until(scheduler, [SWEEP_DUE, SWEEP_DUE, SWEEP_EVENTS]) < 3

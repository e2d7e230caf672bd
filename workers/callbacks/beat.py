"""Celery beat: has callback workers look for what was forgotten, again and again.

It keeps nothing. Two of them do no harm, since every sweep is safe to repeat, and none for a
while costs only the time until what a crash left is found.
"""

import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from celery.beat import Scheduler

from config.logs import configure_logging, described
from config.settings import Settings
from workers.callbacks.app import ROLL_DAYS, SWEEP_DUE, SWEEP_EVENTS, callbacks_app
from workers.callbacks.worker import quieten

log = logging.getLogger(__name__)

INTERVALS_S: Final = {SWEEP_DUE: 1.0, SWEEP_EVENTS: 2.0, ROLL_DAYS: 3600.0}

_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)


def run_beat(settings: Settings) -> NoReturn:
    """Tell callback workers to sweep until SIGTERM, then end the process."""
    configure_logging(settings.log_level)
    quieten()
    app = callbacks_app(settings)
    app.conf.beat_schedule = schedule()
    beat = app.Beat(
        scheduler_cls=_scheduler(settings.ready_file),
        max_interval=1,
        loglevel=settings.log_level,
        quiet=True,
    )
    beat.run()
    sys.exit(0)


def schedule() -> dict[str, dict[str, Any]]:
    """What is told, as Celery wants it said."""
    return {
        # As if it had last been told long ago: a beat that is started anew tells at once.
        task: {"task": task, "schedule": interval_s, "last_run_at": _LONG_AGO}
        for task, interval_s in INTERVALS_S.items()
    }


def _scheduler(ready_file: str | None) -> type[Scheduler]:
    """A scheduler that remembers nothing, and touches a file whenever it has told something.

    It goes by the clock that never jumps. By Celery's own, which is that of the day, a beat whose
    clock was set back by an hour would tell nothing for an hour.
    """
    sign = None if ready_file is None else Path(ready_file)
    if sign is not None:
        sign.unlink(missing_ok=True)

    class Sweeps(Scheduler):  # type: ignore[misc]
        _failing = False

        def _when(self, _entry: Any, in_s: float, **_: Any) -> float:
            """When one is looked at."""
            return time.monotonic() + in_s

        def is_due(self, entry: Any) -> tuple[bool, float]:
            """One that is looked at is due, and again after its interval."""
            return True, INTERVALS_S[entry.name]

        def apply_entry(self, entry: Any, producer: Any = None) -> None:
            """Tell one; a broker that is away is told of once, not every second."""
            try:
                self.apply_async(entry, producer=producer, advance=False)
            except Exception as error:  # noqa: BLE001  Whatever it is, the next one comes.
                if not self._failing:
                    cause = error.__cause__ or error.__context__ or error
                    log.warning("nobody can be told to sweep", extra={"fault": described(cause)})
                self._failing = True
                return
            if self._failing:
                log.info("sweeps are made again")
            self._failing = False
            if sign is not None:
                sign.touch()

    return Sweeps

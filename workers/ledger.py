"""The ledger worker process: wait for Postgres, then run Celery with our step in it."""

import logging
import os
import socket
import time
from pathlib import Path
from typing import Final, NoReturn

from celery import Celery
from sqlalchemy import Engine

from config.logs import configure_logging, described
from config.settings import Settings
from storage.engine import ledger_engine
from storage.faults import Fault, classify
from storage.ledger import Ledger
from storage.outcomes import Outcomes
from workers.announce import Announcer
from workers.app import celery_app, run_step_worker
from workers.callbacks.app import callbacks_app
from workers.flower import FlowerEvents
from workers.handover import Handover
from workers.partition import Office
from workers.step import ledger_step

log = logging.getLogger(__name__)

POSTGRES_POLL_S: Final = 1.0


def run_ledger_worker(settings: Settings, numbers: list[int]) -> NoReturn:
    """Consume these partitions until SIGTERM, then end the process.

    Raises: PartitionCountMismatch, before anything is consumed, if the database was made
    with another partition count than the settings say.
    """
    configure_logging(settings.log_level)
    if settings.ready_file is not None:
        Path(settings.ready_file).unlink(missing_ok=True)
    engine = ledger_engine(settings)
    ledger = Ledger(engine, settings.partitions)
    await_database(ledger)
    app = ledger_app(settings, numbers, engine, ledger)
    run_step_worker(app, node_name(numbers), settings)


def ledger_app(settings: Settings, numbers: list[int], engine: Engine, ledger: Ledger) -> Celery:
    """A Celery app whose worker consumes these partitions. Connects to nothing."""
    # Made first, because the app that is made last is the process's own.
    handover = Handover(callbacks_app(settings))
    app = celery_app(settings)
    office = Office(
        ledger=ledger,
        engine=engine,
        announcer=Announcer(
            Outcomes(settings.redis_url.get_secret_value(), settings.outcome_ttl_s)
        ),
        events=FlowerEvents(settings.events_per_s),
        handover=handover,
        partitions=settings.partitions,
        batch_size=settings.batch_size,
    )
    ready_file = None if settings.ready_file is None else Path(settings.ready_file)
    step = ledger_step(office, numbers, settings.linger_ms / 1000, ready_file)
    app.steps["consumer"].add(step)
    return app


def node_name(numbers: list[int]) -> str:
    """What Flower calls this worker: its partitions, and its pid, for a standby has the same."""
    named = f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
    return f"ledger-{named}-{os.getpid()}@{socket.gethostname()}"


def await_database(ledger: Ledger) -> None:
    """Return once the database answers and was made with our partition count.

    Raises: PartitionCountMismatch, and whatever waiting does not mend.
    """
    waiting = False
    while True:
        try:
            ledger.check_partitions()
        except Exception as error:
            if classify(error) is not Fault.TRANSIENT:
                raise
            if not waiting:
                log.warning("waiting for Postgres", extra={"fault": described(error)})
            waiting = True
            time.sleep(POSTGRES_POLL_S)
        else:
            return

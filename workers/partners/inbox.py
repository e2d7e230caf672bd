"""The inbox worker process: wait for Postgres, then run Celery with our step in it."""

import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from celery import Celery
from sqlalchemy import Engine

from config.logs import configure_logging
from config.settings import Settings
from producers.instructions import publish_all
from producers.publisher import Publisher
from storage import partners
from storage.engine import inbox_engine
from storage.ledger import Ledger
from storage.outcomes import Outcomes
from workers.app import celery_app, run_step_worker
from workers.ledger import await_database
from workers.partners.intake import Intake
from workers.partners.outbound import Outbound
from workers.partners.step import THREADS, Hall, inbox_step
from workers.partners.turn import Desk

CONFIRM_TIMEOUT_S: Final = 10.0
"""Nobody waits for an answer: a broker that is slow for a moment is worth waiting for."""

SWITCH_INTERVAL_S: Final = 0.0005
"""A tenth of what is usual: a partner's single message must not wait for Python, at each of its
steps, behind the batch of another."""


def run_inbox_worker(settings: Settings) -> NoReturn:
    """Read every partner's inbox until SIGTERM, then end the process.

    Raises: PartitionCountMismatch, before anything is read, if the database was made with
    another partition count than the settings say.
    """
    configure_logging(settings.log_level)
    if settings.ready_file is not None:
        Path(settings.ready_file).unlink(missing_ok=True)
    engine = inbox_engine(settings, pool_size=THREADS)
    await_database(Ledger(engine, settings.partitions))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    node_name = f"inbox-{os.getpid()}@{socket.gethostname()}"
    run_step_worker(inbox_app(settings, engine), node_name, settings)


def inbox_app(settings: Settings, engine: Engine) -> Celery:
    """A Celery app whose worker reads every partner's inbox. Connects to nothing."""
    app = celery_app(settings)
    broker_url = settings.broker_url.get_secret_value()
    publisher = Publisher(
        broker_url,
        name="inbox",
        confirm_timeout_s=CONFIRM_TIMEOUT_S,
        # Who may declare has declared: this worker's user may only write and read.
        declare=lambda _channel: None,
    )
    outcomes = Outcomes(settings.redis_url.get_secret_value(), settings.outcome_ttl_s)
    desk = Desk(
        intake=Intake(engine, outcomes),
        outbound=Outbound(broker_url),
        forward=lambda batch: publish_all(publisher, batch, settings.partitions),
    )
    hall = Hall(
        desk=desk,
        look=partial(partners.active, engine),
        linger_s=settings.linger_ms / 1000,
        ready_file=None if settings.ready_file is None else Path(settings.ready_file),
    )
    app.steps["consumer"].add(inbox_step(hall))
    return app

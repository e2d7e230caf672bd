"""The callback worker process: an ordinary Celery worker with threads."""

import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

from celery import Celery
from celery.signals import worker_ready, worker_shutting_down

from config.collector import settle_collector
from config.logs import configure_logging
from config.settings import Settings
from storage.engine import callbacks_engine
from storage.secrets import SecretKeys
from workers.callbacks.app import DELIVER, CallbackConsumer, callbacks_app
from workers.callbacks.deliver import Deliverer
from workers.callbacks.hand_on import HandOn
from workers.callbacks.sender_process import SenderProcess
from workers.callbacks.tasks import register
from workers.partners.outbound import Outbound

THREADS_KEPT: Final = 4
"""Threads that no endpoint gets: events are handed on and sweeps are made whatever happens."""


def run_callback_worker(settings: Settings) -> NoReturn:
    """Hand events on and deliver callbacks until SIGTERM, then end the process.

    Raises: ValueError if the settings hold no keys for secrets.
    """
    if settings.secret_keys is None:
        raise ValueError("TEKANA_SECRET_KEYS is not set; callbacks cannot be signed without")
    configure_logging(settings.log_level)
    quieten()
    keys = SecretKeys.from_setting(settings.secret_keys.get_secret_value())
    sender = SenderProcess(
        allow_loopback=settings.callback_allow_loopback, ca_file=settings.callback_ca_file
    )
    outbound = Outbound(settings.broker_url.get_secret_value())
    engine = callbacks_engine(settings)
    app = callbacks_app(settings)
    deliverer = Deliverer(engine, keys, sender, settings.callback_threads)
    hand_on = HandOn(engine, outbound, lambda endpoint_id: _tell(app, endpoint_id))
    register(app, engine, hand_on, deliverer)
    worker_shutting_down.connect(lambda **_: deliverer.stop(), weak=False)
    _tell_when_ready(settings)
    worker = app.Worker(
        hostname=f"callbacks-{os.getpid()}@{socket.gethostname()}",
        pool="threads",
        concurrency=settings.callback_threads + THREADS_KEPT,
        consumer_cls=CallbackConsumer,
        loglevel=settings.log_level,
        task_events=False,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    settle_collector()
    worker.start()
    sender.close()
    outbound.close()
    sys.exit(worker.exitcode)


def quieten() -> None:
    """Have Celery keep to itself what it does all the time: two lines for every task."""
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _tell(app: Celery, endpoint_id: str) -> None:
    app.send_task(DELIVER, args=[endpoint_id])


def _tell_when_ready(settings: Settings) -> None:
    if settings.ready_file is None:
        return
    ready_file = Path(settings.ready_file)
    ready_file.unlink(missing_ok=True)

    def ready(**_: Any) -> None:
        ready_file.touch()

    worker_ready.connect(ready, weak=False)

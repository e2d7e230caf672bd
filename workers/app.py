"""The Celery app of the ledger workers, and all of Celery that is switched off in it.

Celery brings the process, its signals, its remote control and what Flower shows. It does
not bring its task queue: anything that would put an instruction in another place than the
one it was published to, or decide it again behind our back, is off.
"""

import math
import sys
from collections import deque
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import kombu.compression
from amqp import serialization
from amqp.exceptions import RecoverableConnectionError
from celery import Celery
from celery.app.amqp import AMQP
from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher
from celery.signals import setup_logging
from kombu.connection import Connection

from config.collector import settle_collector
from config.logs import configure_logging
from config.settings import Settings
from workers.inflow import readable

DEFAULT_QUEUE: Final = "celery"
"""Never consumed and so never declared: one malformed message on it would end a worker."""

LONGEST_BATCH_IN_STATEMENT_TIMEOUTS: Final = 4
"""A batch is about seven statements, and no sane batch has four that run into the timeout."""

_BASIC: Final = 60

RECONNECT_MOST_S: Final = 2.0
"""Celery would wait up to 30 s between attempts, while instructions pile up."""


class _Connection(Connection):
    """Tries again soon, however long the broker has been away."""

    def ensure_connection(self, *arguments: Any, **options: Any) -> Any:
        steps = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": RECONNECT_MOST_S}
        return super().ensure_connection(  # type: ignore[no-untyped-call]
            *arguments, **(steps | options)
        )


class _Amqp(AMQP):  # type: ignore[misc]
    Connection = _Connection


_HEARTBEAT: Final = "worker.heartbeat"

EVENTS_KEPT: Final = 1000
"""Events for Flower that wait while their connection is lost; older ones are dropped."""


class _Dispatcher(EventDispatcher):  # type: ignore[misc]
    """Never connects by itself: Flower's events must not stop a worker.

    Celery sends the worker's heartbeat "with retry", which means: reconnect within the call,
    until it succeeds. kombu may then do that for ever, a hundred times a second, because it
    tries the declaration again on the channel that was lost. Here a lost connection for events
    is a lost connection, and Celery makes all of them anew.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._outbound_buffer: deque[Any] = deque(self._outbound_buffer, EVENTS_KEPT)

    def _publish(self, event: Any, producer: Any, routing_key: str, *_: Any, **__: Any) -> None:
        super()._publish(event, producer, routing_key, retry=False)
        # What could not be sent was kept. A heartbeat comes every two seconds.
        kept = self._outbound_buffer
        if routing_key == _HEARTBEAT and kept and kept[-1][0] is event:
            raise RecoverableConnectionError("the connection for events is lost")


class _Events(Events):  # type: ignore[misc]
    dispatcher_cls = _Dispatcher


def celery_app(settings: Settings) -> Celery:
    """Make the app. Connects to nothing."""
    heartbeat_s = heartbeat_interval_s(settings)
    app = Celery("tekana", set_as_current=True, amqp=_Amqp, events=_Events)
    app.conf.update(
        broker_url=settings.broker_url.get_secret_value(),
        # As `producers.connection` does: the certificate is to be valid for the broker's name.
        broker_use_ssl=_tls(settings.broker_url.get_secret_value()),
        broker_heartbeat=heartbeat_s,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A closed channel ends the connection, and Celery makes both anew. By default it
        # would end the worker.
        broker_channel_error_retry=True,
        # No confirms: during a memory alarm the worker would wait for that of an event for
        # ever, and so keep the queues from draining that caused the alarm.
        broker_transport_options={
            "confirm_publish": False,
            "read_timeout": heartbeat_s,
            "write_timeout": heartbeat_s,
        },
        accept_content=["json"],
        event_serializer="json",
        task_ignore_result=True,
        result_backend=None,
        task_queues=None,
        task_default_queue=DEFAULT_QUEUE,
        task_create_missing_queues=False,
        task_reject_on_worker_lost=False,
        task_retry_on_worker_lost=False,
        worker_detect_quorum_queues=False,
        worker_enable_prefetch_count_reduction=False,
        # There are no such tasks; unset, each reconnection would warn of a coming default.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_send_task_events=True,
        worker_enable_remote_control=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    setup_logging.connect(
        lambda **_: configure_logging(settings.log_level), weak=False, dispatch_uid="tekana"
    )
    harden_decoding()
    return app


def run_step_worker(app: Celery, node_name: str, settings: Settings) -> NoReturn:
    """Run a worker whose step does all the work, in one thread, until SIGTERM; end the process."""
    worker = app.Worker(
        hostname=node_name,
        pool="solo",
        concurrency=1,
        loglevel=settings.log_level,
        exclude_queues=[DEFAULT_QUEUE],
        task_events=True,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    settle_collector()
    worker.start()
    sys.exit(worker.exitcode)


def heartbeat_interval_s(settings: Settings) -> int:
    """The AMQP heartbeat: a worker that decides a batch must not look dead to the broker."""
    batch_s = LONGEST_BATCH_IN_STATEMENT_TIMEOUTS * settings.statement_timeout_ms / 1000
    return max(2, math.ceil(batch_s))


def _tls(broker_url: str) -> dict[str, str] | bool:
    url = urlsplit(broker_url)
    return {"server_hostname": url.hostname or "localhost"} if url.scheme == "amqps" else False


def harden_decoding() -> None:
    """Keep what a message carries besides its body from hurting the process that reads it.

    kombu would decompress a body before anybody looked at it, 32 KiB to 32 MiB; py-amqp would
    raise for properties that it cannot read, which ends the process.
    """
    kombu.compression._decoders.clear()
    serialization.PROPERTY_CLASSES[_BASIC] = readable

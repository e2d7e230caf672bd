"""The Celery app of callbacks: ordinary tasks, whose messages only say where to look.

What is to be done is in Postgres. A message that is lost costs the time until the next sweep,
and one that comes twice finds nothing left to do.
"""

from typing import Any, Final

from celery import Celery
from celery.worker.consumer import Consumer
from kombu.entity import Exchange, Queue

from config import broker
from config.settings import Settings
from workers.app import celery_app

HAND_ON: Final = "callbacks.hand_on"
"""Of these rows of `events`: a list of `at` (RFC 3339), `xact` and the number of instructions."""

DELIVER: Final = "callbacks.deliver"
"""To this endpoint, whatever is due."""

SWEEP_DUE: Final = "callbacks.sweep_due"
SWEEP_EVENTS: Final = "callbacks.sweep_events"
ROLL_DAYS: Final = "callbacks.roll_days"

_QUEUE_OF: Final = {
    HAND_ON: broker.CALLBACK_EVENTS,
    DELIVER: broker.CALLBACK_ENDPOINTS,
    SWEEP_DUE: broker.CALLBACK_SWEEPS,
    SWEEP_EVENTS: broker.CALLBACK_SWEEPS,
    ROLL_DAYS: broker.CALLBACK_SWEEPS,
}

HEARTBEAT_S: Final = 10
"""Tasks run in threads, and the event loop answers the broker meanwhile."""


class CallbackConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer without its native delayed delivery.

    That would begin by itself, because our queues are quorum queues: 28 exchanges and 28 queues,
    for delays that we keep in Postgres.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        """Celery's own, one step less."""

        default_steps = tuple(
            step
            for step in Consumer.Blueprint.default_steps
            if not step.endswith(":DelayedDelivery")
        )


def callbacks_app(settings: Settings) -> Celery:
    """Make the app, for who publishes, consumes or schedules these tasks. Connects to nothing."""
    app = celery_app(settings)
    app.conf.update(
        broker_heartbeat=HEARTBEAT_S,
        broker_transport_options={
            "confirm_publish": False,
            "read_timeout": HEARTBEAT_S,
            "write_timeout": HEARTBEAT_S,
        },
        task_queues=[_queue(queue) for queue in broker.callback_queues()],
        task_default_queue=broker.CALLBACK_EVENTS,
        task_routes=[_route],
        # Acknowledged when it begins: what a crash interrupts, a sweep finds.
        task_acks_late=False,
        # Whoever publishes goes on without the broker.
        task_publish_retry=True,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0},
        # Otherwise prefetching is counted over all queues of a channel, which quorum queues refuse.
        worker_detect_quorum_queues=True,
        worker_prefetch_multiplier=1,
        # Flower shows the workers. To show each task as well would cost more than the task.
        worker_send_task_events=False,
        task_send_sent_event=False,
    )
    return app


def _queue(queue: broker.Queue) -> Queue:
    """As `migrate` has declared it; nobody else may."""
    exchange = Exchange(queue.exchange, type="direct", no_declare=True)  # type: ignore[no-untyped-call]
    return Queue(  # type: ignore[no-untyped-call]
        queue.name,
        exchange=exchange,
        routing_key=queue.routing_key,
        queue_arguments=queue.arguments,
        no_declare=True,
    )


def _route(name: str, *_: Any, **__: Any) -> dict[str, str] | None:
    """The whole address: by its queue alone Celery would publish past the exchange."""
    queue = _QUEUE_OF.get(name)
    if queue is None:
        return None
    return {"queue": queue, "exchange": broker.CALLBACKS_EXCHANGE, "routing_key": queue}

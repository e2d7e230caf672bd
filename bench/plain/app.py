"""The Celery app of the plain design."""

from typing import Any, Final

from celery import Celery
from kombu.entity import Exchange, Queue
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.orm import sessionmaker

from bench.plain.posting import Order, Result, post

QUEUE: Final = "plain"
TASK: Final = "plain.transfer"


def plain_app(broker_url: str, redis_url: str, database_url: str) -> Celery:
    """The app: acknowledged late, from a quorum queue, results in Redis."""
    app = Celery("plain", broker=broker_url, backend=redis_url, set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_queues=[_quorum_queue()],
        task_default_queue=QUEUE,
        broker_connection_retry_on_startup=True,
        # Few round trips to the broker, and no process left without work.
        worker_prefetch_multiplier=32,
        worker_send_task_events=False,
        result_expires=3600,
    )
    # Made here and connected on first use, which is in the processes of the pool.
    sessions = sessionmaker(plain_engine(database_url))

    @app.task(name=TASK, shared=False)  # type: ignore[untyped-decorator]  # Celery has no types.
    def transfer(order: Order) -> Result:
        return post(sessions, order)

    return app


def _quorum_queue() -> Any:
    arguments = {"x-queue-type": "quorum"}
    exchange: Any = Exchange(QUEUE, type="direct")  # type: ignore[no-untyped-call]
    return Queue(QUEUE, exchange, QUEUE, queue_arguments=arguments)  # type: ignore[no-untyped-call]


def plain_engine(database_url: str) -> Engine:
    """One connection, as each process of the pool needs."""
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    return create_engine(url, pool_size=1, max_overflow=0)

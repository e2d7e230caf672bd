"""The tasks of a callback worker. None of them raises, and each may come twice."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError as BrokerAway
from sqlalchemy import Engine

from config.logs import described
from storage import delivering, schema
from storage.faults import Fault, classify
from workers.callbacks.app import DELIVER, HAND_ON, ROLL_DAYS, SWEEP_DUE, SWEEP_EVENTS
from workers.callbacks.deliver import Deliverer
from workers.callbacks.hand_on import HandOn

log = logging.getLogger(__name__)


def register(app: Celery, engine: Engine, hand_on: HandOn, deliverer: Deliverer) -> None:
    """Make the tasks known to an app whose worker is about to start."""

    def task(name: str) -> Callable[[Callable[..., None]], None]:
        def add(action: Callable[..., None]) -> None:
            app.task(_guarded(name, action), name=name)

        return add

    @task(HAND_ON)
    def _(refs: list[tuple[str, int, int]]) -> None:
        hand_on.named(refs)

    @task(DELIVER)
    def _(endpoint_id: str) -> None:
        if deliverer.deliver(endpoint_id):
            app.send_task(DELIVER, args=[endpoint_id])

    @task(SWEEP_EVENTS)
    def _() -> None:
        hand_on.left()

    @task(SWEEP_DUE)
    def _() -> None:
        for endpoint_id in delivering.due_endpoints(engine):
            app.send_task(DELIVER, args=[endpoint_id])

    @task(ROLL_DAYS)
    def _() -> None:
        with engine.begin() as connection:
            schema.roll_days(connection)


def _guarded(name: str, action: Callable[..., None]) -> Callable[..., None]:
    """A task whose faults are told in our words: Celery's would quote what Postgres said.

    Whatever was not done is found by the next sweep.
    """

    @wraps(action)
    def run(*arguments: Any) -> None:
        try:
            action(*arguments)
        except Exception as error:
            if isinstance(error, BrokerAway) or classify(error) is Fault.TRANSIENT:
                log.warning("left for the next sweep", extra=_about(name, error))
            else:
                log.exception("left for the next sweep", extra={"task": name})

    return run


def _about(name: str, error: Exception) -> dict[str, str]:
    return {"task": name, "fault": described(error)}

"""Every event arrives at least once, under one id, whoever is killed or forgotten meanwhile."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery.utils.quorum_queues import detect_quorum_queues

from config import broker
from ops.stack.services import Services
from tests.support import wait_until
from tests.workers.callback_house import CallbackHouse, Endpoint
from tests.workers.receiver import Answer, Received, Receiver, receiving
from workers.callbacks.app import DELIVER, HAND_ON, CallbackConsumer, callbacks_app


@pytest.fixture
def house(services: Services, tmp_path: Path) -> Iterator[CallbackHouse]:
    made = CallbackHouse(services, tmp_path)
    yield made
    made.close()


def all_delivered(house: CallbackHouse, endpoint: Endpoint, count: int) -> None:
    wait_until(
        lambda: house.statuses(endpoint) == {"delivered": count}, 60, 0.1, what=f"{count} delivered"
    )


def _has_accepted(receiver: Receiver, count: int) -> bool:
    return len(receiver.accepted) >= count


def test_a_worker_that_is_killed_between_send_and_mark_loses_nothing(house: CallbackHouse) -> None:
    def slow(_: Received, __: int) -> Answer:
        time.sleep(0.02)
        return Answer(204)

    with receiving(slow) as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        worker = house.callbacks().ready()
        house.beat().ready()
        house.worker().ready()
        house.publish(house.transfers(400))
        for sent in (30, 150):
            # More were accepted than are marked: they lie between the two.
            wait_until(partial(_has_accepted, receiver, sent), 30)
            worker.kill()
            # A lease runs out after 30 s; a test does not wait so long.
            house.pass_time(endpoint, 0.01)
            worker = house.callbacks().ready()
        all_delivered(house, endpoint, 400)

    seen = Counter(receiver.ids())
    rows = house.deliveries(endpoint)
    assert set(seen) == {row.id for row in rows}
    assert len(seen) == 400
    assert sum(seen.values()) > 400, "what was on its way when the worker was killed came twice"


def test_what_a_killed_ledger_worker_left_is_found_within_5_s(house: CallbackHouse) -> None:
    """Nobody was told: that is what is left when it dies between commit and hand-over."""
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.callbacks().ready()
        house.beat().ready()
        house.decide(house.transfers(50))
        decided_s = time.time()
        wait_until(lambda: len(receiver.received) >= 50, 20, what="50 callbacks")
        all_delivered(house, endpoint, 50)

    assert max(one.at_s for one in receiver.received) - decided_s < 5
    assert len(receiver.received) == 50


def test_more_than_one_beat_and_any_number_of_messages_do_no_harm(house: CallbackHouse) -> None:
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        for _ in range(2):
            house.callbacks().ready()
            house.beat().ready()
        house.decide(house.transfers(300))
        rows = house.rows("SELECT DISTINCT at, xact FROM events WHERE pending")
        app = callbacks_app(house.settings)
        for _ in range(20):
            app.send_task(HAND_ON, args=[[[row.at.isoformat(), row.xact, 1] for row in rows]])
            app.send_task(DELIVER, args=[endpoint.id])
        app.close()
        all_delivered(house, endpoint, 300)

    assert len(receiver.received) == 300


def test_one_endpoint_that_hangs_does_not_delay_another(house: CallbackHouse) -> None:
    with receiving(lambda *_: Answer(hang=True)) as hanging, receiving() as receiver:
        bad = [house.endpoint(hanging.url, ["instruction.succeeded"]) for _ in range(3)]
        good = house.endpoint(receiver.url, ["instruction.succeeded"])
        # Decided first, so that the first turn finds all of them, and not as many as chance has it.
        house.decide(house.transfers(20))
        house.callbacks(callback_threads=4).ready()
        house.beat().ready()
        house.worker().ready()
        wait_until(lambda: len(receiver.received) >= 20, 20)
        wait_until(lambda: hanging.in_flight >= 8, 20)
        before_s = time.time()
        house.publish(house.transfers(100, prefix="later"))
        wait_until(lambda: len(receiver.received) >= 120, 20, what="callbacks beside a hanging one")
        took_s = time.time() - before_s
        all_delivered(house, good, 120)
        assert all(house.statuses(endpoint) == {"pending": 120} for endpoint in bad)
        hanging.close()

    assert took_s < 5


def test_sigterm_ends_a_worker_in_order(house: CallbackHouse) -> None:
    def slow(_: Received, __: int) -> Answer:
        time.sleep(0.1)
        return Answer(204)

    with receiving(slow) as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        worker, beat = house.callbacks().ready(), house.beat().ready()
        house.decide(house.transfers(500))
        wait_until(lambda: len(receiver.received) >= 30, 30)
        assert worker.terminate(30) == 0
        assert beat.terminate(30) == 0
        assert house.statuses(endpoint)["delivered"] == len(receiver.accepted)
        assert len(receiver.accepted) == len(receiver.received) < 500
        assert house.row(endpoint).leased_until is None
        for process in (worker, beat):
            assert "Traceback" not in process.log_file.read_text()


def test_a_broker_that_goes_away_delays_and_loses_nothing(house: CallbackHouse) -> None:
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        worker = house.callbacks().ready()
        beat = house.beat().ready()
        house.services.rabbitmq.stop()
        house.decide(house.transfers(20))
        house.services.rabbitmq.start()
        all_delivered(house, endpoint, 20)
        assert worker.process.poll() is None
        assert beat.process.poll() is None

    assert len(receiver.received) == 20


def test_postgres_that_goes_away_delays_and_loses_nothing(house: CallbackHouse) -> None:
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        worker = house.callbacks().ready()
        house.beat().ready()
        house.decide(house.transfers(20))
        house.services.postgres.stop("immediate")
        house.services.postgres.start()
        house.decide(house.transfers(20, prefix="after"))
        all_delivered(house, endpoint, 40)
        assert worker.process.poll() is None

    assert len(set(receiver.ids())) == 40


def test_a_worker_that_was_stopped_for_long_finds_its_lease_gone(house: CallbackHouse) -> None:
    def slow(_: Received, __: int) -> Answer:
        time.sleep(0.05)
        return Answer(204)

    with receiving(slow) as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        asleep = house.callbacks().ready()
        house.decide(house.transfers(200))
        house.beat().ready()
        wait_until(lambda: len(receiver.received) >= 20, 30)
        asleep.process.send_signal(signal.SIGSTOP)
        house.pass_time(endpoint, 0.01)
        house.callbacks().ready()
        all_delivered(house, endpoint, 200)
        asleep.process.send_signal(signal.SIGCONT)
        wait_until(lambda: asleep.logged("a lease had run out"), 20, what="the lease to be missed")
        assert asleep.terminate(30) == 0

    assert set(receiver.ids()) == {row.id for row in house.deliveries(endpoint)}
    assert house.statuses(endpoint) == {"delivered": 200}


def test_celery_delays_nothing_and_declares_nothing(house: CallbackHouse) -> None:
    app = callbacks_app(house.settings)
    steps = CallbackConsumer.Blueprint.default_steps
    house.callbacks().ready()
    house.beat().ready()

    def names(kind: str) -> set[str]:
        listed: list[dict[str, Any]] = house.manage("GET", f"{kind}/{house.vhost}")
        return {one["name"] for one in listed if not one["name"].startswith("amq.")} - {""}

    assert detect_quorum_queues(app, "amqp")[0], "so prefetching is counted for each queue"
    assert not any(step.endswith("DelayedDelivery") for step in steps)
    assert len(steps) == len(set(steps)) == 9
    assert not any("celery_delayed" in name for name in names("exchanges") | names("queues"))
    ours = {queue.name for queue in (*broker.queues(8), *broker.callback_queues())}
    others = names("queues") - ours
    assert len(others) == 1
    assert next(iter(others)).endswith(".celery.pidbox")
    assert next(iter(others)).startswith("callbacks-")

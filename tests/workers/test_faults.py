"""Services that go away, instructions that the database refuses: none lost, none reordered."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

from tests.bookkeeping import transfer
from tests.support import wait_until
from tests.workers.house import House

OUTAGE_S = 20.0

REFUSE_SOME = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON instructions FOR EACH ROW
    WHEN (NEW.reference = 'bad') EXECUTE FUNCTION refuse();
"""


def test_one_bad_instruction_is_parked_wherever_in_a_batch_and_its_neighbours_are_decided(
    house: House,
) -> None:
    house.run(REFUSE_SOME)
    source, destination = house.names[:2]
    places = {0, 45, 89}
    sent = [
        transfer(f"k{n}", source, destination, 1, reference="bad" if n in places else "good")
        for n in range(90)
    ]
    house.publish(sent)

    worker = house.worker().ready()

    good = [f"k{n}" for n in range(90) if n not in places]
    house.await_decided(good)
    assert [key for key in house.decided(0) if key.startswith("k")] == good
    wait_until(lambda: len(house.parked()) == len(places))
    assert [each.id_text for each in house.parked()] == [sent[n].id for n in sorted(places)]
    assert {each.reason for each in house.parked()} == {"undecided: CheckViolation 23514"}
    assert worker.logged("batch failed; going on one by one")
    house.assert_books_whole()
    house.assert_all_acknowledged()


def test_while_postgres_is_away_everything_is_held_in_place_and_nothing_parked(
    house: House,
) -> None:
    worker = house.worker().ready()
    sent = house.transfers(400)
    postgres = house.services.postgres
    try:
        house.publish(sent[:100])
        house.await_decided(each.idempotency_key for each in sent[:100])
        postgres.stop("immediate")
        ends_at = time.monotonic() + OUTAGE_S
        for number in range(100, 400, 30):
            house.publish(sent[number : number + 30])
            time.sleep(max(0.0, (ends_at - time.monotonic()) / ((430 - number) / 30)))
        assert worker.process.poll() is None
    finally:
        postgres.start()

    house.await_decided(each.idempotency_key for each in sent)
    house.assert_decided_in_order(sent)
    assert 1 <= len(worker.logged("held in place")) <= 8
    assert all(line["waited_s"] > 0 for line in worker.logged("goes on"))
    counts = wait_until(lambda: _all_acknowledged(house, len(sent)), what="the broker's counts")
    assert counts.get("redeliver", 0) == 0
    house.assert_all_acknowledged()


def test_a_broker_that_restarts_with_a_backlog_loses_nothing_and_keeps_the_order(
    open_house: Callable[..., House],
) -> None:
    house = open_house(batch_size=20)
    sent = house.transfers(6000)
    house.publish(sent)
    worker = house.worker().ready()
    wait_until(lambda: len(house.decided()) > 500)

    rabbitmq = house.services.rabbitmq
    rabbitmq.stop()
    try:
        started_meanwhile = house.worker()
    finally:
        rabbitmq.start()

    house.await_decided((each.idempotency_key for each in sent), timeout_s=60)
    house.assert_decided_in_order(sent)
    assert worker.process.poll() is None
    started_meanwhile.ready()
    house.assert_all_acknowledged()


def test_a_memory_alarm_does_not_stop_what_drains_the_queues(house: House) -> None:
    sent = house.transfers(1000)
    house.publish(sent[:500])
    worker = house.worker().ready()
    house.await_decided(each.idempotency_key for each in sent[:500])
    worker.terminate()
    house.publish(sent[500:])

    with _memory_alarm(house):
        worker = house.worker().ready()
        house.await_decided(each.idempotency_key for each in sent[500:])
        wait_until(lambda: worker.logged("the broker blocks publishers; Flower is shown nothing"))

    house.assert_decided_in_order(sent)
    house.assert_all_acknowledged()


def test_storms_between_wallets_of_two_workers_are_all_decided(
    open_house: Callable[..., House],
) -> None:
    house = open_house(batch_size=50)
    low, high = house.names[0], house.names[7]
    there = [transfer(f"there{n}", low, high, 1) for n in range(1500)]
    back = [transfer(f"back{n}", high, low, 1) for n in range(1500)]
    sent = [each for pair in zip(there, back, strict=True) for each in pair]
    house.publish(sent)

    for partitions in ("0-3", "4-7"):
        house.worker(partitions)

    house.await_decided(each.idempotency_key for each in sent)
    house.assert_decided_in_order(sent)
    house.assert_all_acknowledged()


def test_a_queue_that_is_deleted_and_made_again_is_consumed_again(house: House) -> None:
    worker = house.worker().ready()
    with house.channel() as channel:
        channel.queue_delete("ledger.p000")
    # Made again at once, RabbitMQ 3.10 would tie the old consumer to it and send it nothing.
    wait_until(lambda: "the broker cancelled a consumer" in worker.log_file.read_text())
    house.declare()
    sent = house.transfers(8)

    house.publish(sent)

    house.await_decided(each.idempotency_key for each in sent)
    house.assert_all_acknowledged()


@pytest.mark.parametrize("away", ["postgres", "redis"])
def test_a_worker_waits_for_what_is_away_when_it_starts(house: House, away: str) -> None:
    service = getattr(house.services, away)
    sent = house.transfers(8)
    house.publish(sent)
    service.stop()
    starting = threading.Timer(1.0, service.start)
    try:
        worker = house.worker()
        wait_until(lambda: worker.process.poll() is None and worker.log_file.stat().st_size > 0)
    finally:
        starting.start()
        starting.join()

    worker.ready()
    house.await_decided(each.idempotency_key for each in sent)
    assert not worker.logged("held in place")


def _all_acknowledged(house: House, count: int) -> dict[str, int] | None:
    queues = house.manage("GET", f"queues/{house.vhost}")
    totals: dict[str, int] = {}
    for queue in queues:
        for name, value in queue.get("message_stats", {}).items():
            if isinstance(value, int) and queue["name"].startswith("ledger.p"):
                totals[name] = totals.get(name, 0) + value
    return totals if totals.get("ack") == count else None


@contextmanager
def _memory_alarm(house: House) -> Iterator[None]:
    rabbitmq = house.services.rabbitmq
    rabbitmq.ctl("set_vm_memory_high_watermark", "0")
    try:
        yield
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1GB")


def test_a_lost_connection_for_events_does_not_stop_what_decides(
    open_house: Callable[..., House],
) -> None:
    """Found by the torture: kombu reconnected for the sake of Flower, for ever, in a storm."""
    house = open_house(statement_timeout_ms=500)
    worker = house.worker().ready()
    for number in range(3):
        events = wait_until(lambda: _connections_without_consumers(house), 20)
        for name in events:
            house.manage("DELETE", f"connections/{quote(name)}")
        times = number + 2
        wait_until(lambda: len(worker.logged("consuming")) >= times, 20)  # noqa: B023

        sent = house.transfers(16, f"after{number}-")
        house.publish(sent)
        house.await_decided(each.idempotency_key for each in sent)


def _connections_without_consumers(house: House) -> list[str]:
    """Connections that publish only; the management API learns of them after a while."""
    consuming = {
        consumer["channel_details"]["connection_name"]
        for consumer in house.manage("GET", f"consumers/{house.vhost}")
        # While a channel is going, the list of what is known of it is empty.
        if consumer["channel_details"]
    }
    named = {each["name"] for each in house.manage("GET", f"vhosts/{house.vhost}/connections")}
    return sorted(named - consuming) if consuming and len(named) > 1 else []

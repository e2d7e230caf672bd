"""The ledger worker as a process: what comes in on a partition queue is decided, once, in order."""

import json
import uuid
from decimal import Decimal

import pika

from domain.instructions import encode
from storage.outcomes import Outcomes
from tests.bookkeeping import transfer, wallet_id
from tests.support import wait_until
from tests.workers.house import House


def test_a_transfer_is_decided_acknowledged_and_shown(house: House) -> None:
    house.worker().ready()
    paid = transfer(uuid.uuid4(), house.names[0], house.names[1], 250)

    house.publish([paid])

    outcomes = Outcomes(house.settings.redis_url.get_secret_value(), 60)
    noted = wait_until(lambda: outcomes.get(paid.id))
    assert noted.status == "succeeded"
    view = json.loads(noted.view)
    assert view["result"]["entries"][0] == {
        "wallet_id": wallet_id(house.names[0]),
        "seq": 2,
        "amount": -250,
        "balance": 999_750,
        "currency": "KES",
        "exponent": 2,
    }
    house.assert_all_acknowledged()
    house.assert_books_whole()


def test_a_backlog_is_decided_in_batches_and_in_order(house: House) -> None:
    sent = house.transfers(2000)
    house.publish(sent)

    house.worker().ready()

    house.await_decided(each.idempotency_key for each in sent)
    house.assert_decided_in_order(sent)
    transactions = house.rows("SELECT DISTINCT partition, decided_at FROM instructions")
    assert len(transactions) < 200


def test_every_message_three_times_also_within_a_batch_has_one_outcome(house: House) -> None:
    once = [transfer(f"k{n}", house.names[0], house.names[1], 1) for n in range(40)]
    thrice = [each for each in once for _ in range(2)] + once
    house.publish(thrice)

    house.worker().ready()

    house.await_decided(each.idempotency_key for each in once)
    house.assert_all_acknowledged()
    assert [key for key in house.decided(0) if key.startswith("k")] == [f"k{n}" for n in range(40)]
    assert house.parked() == []
    house.assert_books_whole()


def test_a_message_in_the_wrong_partition_is_parked_and_its_neighbours_are_decided(
    house: House,
) -> None:
    house.worker().ready()
    before, stray, after = (
        transfer("before", house.names[0], house.names[1], 1),
        transfer("stray", house.names[3], house.names[1], 1),
        transfer("after", house.names[0], house.names[1], 1),
    )

    house.publish_bodies((0, encode(each)) for each in (before, stray, after))

    house.await_decided(["before", "after"])
    (parked,) = wait_until(house.parked)
    assert (parked.reason, parked.partition) == ("wrong partition", 0)
    assert parked.id_text == stray.id
    assert bytes(parked.body) == encode(stray)
    assert "stray" not in house.decided()
    house.assert_all_acknowledged()


POISON_HEADERS = {
    "task header is a table": {"task": {"a": 1}, "id": "1"},
    "id is a table": {"task": "celery.backend_cleanup", "id": {"x": 1}},
    "a task of Celery's own": {"task": "celery.backend_cleanup", "id": "3"},
    "a bad time limit": {"task": "w.transfer", "id": "1", "timelimit": "x"},
    "an expiry that is a list": {"task": "w.transfer", "id": "1", "expires": [1]},
    "stamped": {"task": "w.transfer", "id": "1", "stamped_headers": 5},
    "compressed": {"compression": "gzip"},
    "compressed by what kombu knows": {"compression": "application/x-bz2"},
    "compressed by a table": {"compression": {"a": b"b"}},
    "bytes, a NUL and no text": {"b": b"\xff\x00\xfe", "n": "a\x00b", "k\x00": None},
    "not a number": {"f": [Decimal("1.5"), {"deep": [[[]]]}], "t": True},
}

POISON_BODIES = [
    b"",
    b"{",
    b"null",
    b"5",
    b"[]",
    b"[1]",
    b"[[],{}]",
    b"[[],{},{}]",
    b'{"amount": 1}',
    b'{"task": "w.transfer", "id": "2", "args": [], "kwargs": {}}',
    b"x" * 65536,
    b"\xff\xfe\x00\x01",
    b"\x1f\x8b\x08" + b"\x00" * 64,
    b"[" * 60_000 + b"]" * 60_000,
    b'{"type": "transfer"}',
    b'{"type": "transfer", "data": {"amount": 1E+999}}',
    b'{"version": 1, "type": "transfer", "client_id": 99999999999999999999}',
    b'{"type": "no such"}',
    b'{"type": "\\u0000"}',
    b'{"type": "transfer", "a\\u0000b": 1}',
    '{"type": "\ud800"}'.encode("utf-8", "surrogatepass"),
]


def test_no_message_ends_the_worker_or_stops_its_neighbours(house: House) -> None:
    worker = house.worker().ready()
    kinds = ["application/json", "application/x-python-serialize", "application/x-yaml", "\x00"]
    poison = []
    for number, body in enumerate(POISON_BODIES):
        poison.append((body, pika.BasicProperties(delivery_mode=2, content_type=kinds[number % 4])))
    for number, headers in enumerate(POISON_HEADERS.values()):
        poison.append(
            (
                f"headers {number}".encode(),
                pika.BasicProperties(
                    delivery_mode=2,
                    content_type="application/json",
                    content_encoding=["utf-8", "binary", "rot13", "idna"][number % 4],
                    headers=headers,
                    expiration="600000",
                    priority=9,
                    correlation_id="x",
                    reply_to="celery",
                    type="task",
                ),
            )
        )

    for number, (body, properties) in enumerate(poison):
        house.publish([transfer(f"k{number}", house.names[0], house.names[1], 1)])
        house.publish_bodies([(0, body)], properties)

    house.await_decided(f"k{number}" for number in range(len(poison)))
    wait_until(lambda: len(house.parked()) == len(poison), what=f"{len(poison)} parked messages")
    assert [bytes(each.body) for each in house.parked()] == [body for body, _ in poison]
    assert worker.process.poll() is None
    assert worker.logged("consuming")[0]["pid"] == worker.process.pid
    assert len(worker.logged("consuming")) == 1
    house.assert_all_acknowledged()


def test_properties_that_py_amqp_cannot_read_do_no_harm(house: House) -> None:
    worker = house.worker().ready()
    sent = house.transfers(4, partitions=1)
    unreadable = [
        b"\x80\x00\x02\xff\xfe",  # A content type that is not UTF-8.
        b"\x20\x00\x00\x00\x00\x0b\x01tT" + b"\xff" * 8,  # A time beyond the calendar.
        _nested_tables(3000),
    ]

    for instruction, wire in zip(sent, unreadable, strict=False):
        house.publish_bodies([(0, encode(instruction))], _RawProperties(wire))
    house.publish(sent[-1:])

    house.await_decided(each.idempotency_key for each in sent)
    assert worker.process.poll() is None
    house.assert_decided_in_order(sent)
    house.assert_all_acknowledged()


class _RawProperties(pika.BasicProperties):  # type: ignore[misc]
    """Properties as the bytes that go over the wire."""

    def __init__(self, wire: bytes) -> None:
        super().__init__(delivery_mode=2)
        self._wire = wire

    def encode(self) -> list[bytes]:
        return [self._wire]


def _nested_tables(depth: int) -> bytes:
    table = b""
    for _ in range(depth):
        table = b"\x01kF" + len(table).to_bytes(4, "big") + table
    return b"\x20\x00" + len(table).to_bytes(4, "big") + table

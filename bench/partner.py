"""Partners of the bench: the client of its wallets, and others, with queues of their own."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import amqp
from sqlalchemy import Connection, text

from bench.bench import Bench
from bench.transfers import uniform
from config import broker
from ops.errors import OperatorError
from producers.connection import connection, open_channel
from producers.messages import Outgoing
from producers.publisher import Publisher
from storage import partners
from storage.clients import SCOPES, add_client

_PIECE: Final = 1000
_CONFIRM_TIMEOUT_S: Final = 30.0
_LOOK_S: Final = 0.1
_PATIENCE_S: Final = 60.0


class BenchPartner:
    """Publishes transfers between the bench's wallets, and notes when receipts come.

    The one that is called as the bench's client may move their money; what another sends is
    refused when it is decided, and receipted all the same.
    """

    def __init__(self, bench: Bench, name: str | None, rate_per_s: int) -> None:
        """`name`: of a new client; None is the bench's own."""
        self._bench = bench
        self._rate_per_s = rate_per_s
        ground = bench.ground
        with self._operating() as database:
            if name is None:
                name = database.scalar(
                    text("SELECT name FROM clients WHERE id = :id"), {"id": ground.client_id}
                )
            else:
                add_client(database, name, SCOPES, who="bench", reason="bench")
            partners.add(database, str(name), rate_per_s=rate_per_s, who="bench", reason="bench")
        self.name = str(name)
        self._publisher = Publisher(
            ground.services.broker_url,
            name="bench",
            confirm_timeout_s=_CONFIRM_TIMEOUT_S,
            declare=lambda _channel: None,
        )
        opening = connection(ground.services.broker_url, "bench")
        self._declare(open_channel(opening))
        opening.close()

    def messages(self, count: int) -> list[Outgoing]:
        """So many transfers, no key twice; a message is named by its key."""
        transfers = self._bench.transfers()
        draw = uniform(self._bench.sizes.wallets, self._bench.chance)
        made = []
        for _ in range(count):
            key = transfers.key()
            data = transfers.data(draw, draw)
            message = {"version": 1, "idempotency_key": key, "type": "transfer", "data": data}
            body = json.dumps(message).encode()
            made.append(Outgoing(broker.inbox_exchange(self.name), "", body, key))
        return made

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Have them wait in the inbox. Raises: OperatorError if one is not confirmed."""
        for start in range(0, len(messages), _PIECE):
            if any(self._publisher.publish(messages[start : start + _PIECE])):
                raise OperatorError("The broker did not confirm a partner's messages.")

    def receipts_ms(self, messages: Sequence[Outgoing], per_s: float) -> list[float]:
        """From when each was due, on a fixed schedule, until the partner had its receipt.

        Raises: OperatorError if a receipt does not come.
        """
        with Receipts(self._bench.ground.services.broker_url, self.name) as receipts:
            begun, sent = time.perf_counter(), 0
            while sent < len(messages):
                # The schedule stands, whether or not receipts come: what has become due while
                # the broker was slow to confirm is published at once.
                time.sleep(max(0.0, begun + sent / per_s - time.perf_counter()))
                due = int((time.perf_counter() - begun) * per_s) // _AT_ONCE * _AT_ONCE + _AT_ONCE
                self.publish(messages[sent:due])
                sent = due
            receipts.await_all(len(messages))
        due_at = {
            each.message_id: begun + number // _AT_ONCE * _AT_ONCE / per_s
            for number, each in enumerate(messages)
        }
        return [(receipts.at[key] - at) * 1000 for key, at in due_at.items()]

    def fill(self, count: int) -> None:
        """Have so many wait in the inbox, those that wait already counted."""
        self.publish(self.messages(max(0, count - self._inbox().message_count)))

    def join(self) -> None:
        """Be a partner, and return when the inbox is read."""
        with self._operating() as database:
            partners.add(
                database, self.name, rate_per_s=self._rate_per_s, who="bench", reason="bench"
            )
        self._await_readers(1)

    def leave(self) -> None:
        """Be no partner any more, and return when nobody reads the inbox, which stays as it is."""
        with self._operating() as database:
            partners.remove(database, self.name, who="bench", reason="bench")
        self._await_readers(0)

    def close(self) -> None:
        """Disconnect."""
        self._publisher.close()

    @contextmanager
    def _operating(self) -> Iterator[Connection]:
        with self._bench.ground.operator() as engine, engine.begin() as database:
            yield database

    def _inbox(self) -> Any:
        """What the broker says of the inbox: how many messages wait, and how many read it."""
        opening = connection(self._bench.ground.services.broker_url, "bench")
        found = open_channel(opening).queue_declare(
            broker.inbox_queue(self.name).name, passive=True
        )
        opening.close()
        return found

    def _await_readers(self, count: int) -> None:
        until = time.monotonic() + _PATIENCE_S
        while self._inbox().consumer_count != count:
            if time.monotonic() > until:
                raise OperatorError(f"The inbox of {self.name} is not read by {count}.")
            # The worker looks once a second who is a partner, and tells nobody.
            time.sleep(_LOOK_S)

    def _declare(self, channel: amqp.Channel) -> None:
        exchange = broker.inbox_exchange(self.name)
        channel.exchange_declare(exchange, "fanout", durable=True, auto_delete=False)
        for queue in (broker.inbox_queue(self.name), broker.outbox_queue(self.name)):
            channel.queue_declare(
                queue.name, durable=True, auto_delete=False, arguments=queue.arguments
            )
            channel.queue_bind(queue.name, queue.exchange, queue.routing_key)


_AT_ONCE: Final = 5
"""Messages that are due at the same moment: a schedule in Python keeps no time finer than that."""

_LISTEN_S: Final = 0.2


class Receipts:
    """Reads a partner's queue in a thread of its own, and notes when each receipt came."""

    def __init__(self, broker_url: str, name: str) -> None:
        self.at: dict[str, float] = {}
        """Times of `time.perf_counter` by idempotency key."""
        self._connection = connection(broker_url, "receipts")
        self._channel = open_channel(self._connection)
        self._channel.queue_purge(broker.outbox_queue(name).name)
        self._channel.basic_consume(broker.outbox_queue(name).name, no_ack=True, callback=self._got)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="receipts", daemon=True)

    def __enter__(self) -> "Receipts":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._connection.collect()

    def await_all(self, count: int) -> None:
        """Return when so many came. Raises: OperatorError if they do not."""
        until = time.monotonic() + _PATIENCE_S
        while len(self.at) < count:
            if time.monotonic() > until:
                raise OperatorError(f"{count - len(self.at)} messages have no receipt.")
            # Their times are noted by the thread that reads, so looking seldom changes none.
            time.sleep(0.01)

    def _got(self, message: Any) -> None:
        at = time.perf_counter()
        event = json.loads(message.body)
        if event["type"] == "instruction.accepted":
            self.at.setdefault(event["data"]["idempotency_key"], at)

    def _listen(self) -> None:
        while not self._ended.is_set():
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=_LISTEN_S)
            self._connection.heartbeat_tick()

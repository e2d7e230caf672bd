"""A wallet house with partners: their own clients, real inboxes, real workers."""

import itertools
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pika
from pika.exceptions import AMQPError

from config import broker
from domain.identity import instruction_id, partition_of
from domain.instructions import Instruction, decode
from ops.broker_admin import BrokerAdmin
from ops.partners import Asked, Provisioning
from ops.stack.services import Services
from storage import partners
from storage.clients import SCOPES
from tests.bookkeeping import wallet_id
from tests.partners.client import channel_of, connect
from tests.support import wait_until
from tests.workers.house import PARTITIONS, House, Worker

RECEIPTS = ("instruction.accepted", "instruction.refused")
OUTCOMES = ("instruction.succeeded", "instruction.rejected")


class Seen(NamedTuple):
    """An event as the partner got it."""

    properties: pika.BasicProperties
    event: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = self.event["data"]
        return data

    @property
    def key(self) -> str | None:
        return self.data.get("idempotency_key")


class Bank:
    """A partner at its own end: it has a URL and nothing else."""

    def __init__(self, name: str, client_id: int, url: str, api_key: str) -> None:
        self.name = name
        self.client_id = client_id
        self.url = url
        self.api_key = api_key
        self.seen: list[Seen] = []
        self._numbers = itertools.count(1)
        self._reading: Any = None

    def deposit(self, wallet: str, amount: int = 1, key: str | None = None) -> dict[str, Any]:
        """A message that orders a deposit."""
        data = {"wallet_id": wallet_id(wallet), "amount": amount, "currency": "KES"}
        key = self.named(key or f"k{next(self._numbers)}")
        return {"version": 1, "idempotency_key": key, "type": "deposit", "data": data}

    def named(self, key: str) -> str:
        """A key that no other test has used: all of them share one Redis."""
        return f"{key}.{self.name}"

    def send(self, *messages: dict[str, Any], **properties: Any) -> None:
        """Publish in order; the broker has promised to keep all on return."""
        self.send_raw(*(json.dumps(message).encode() for message in messages), **properties)

    def send_raw(self, *bodies: bytes, **properties: Any) -> None:
        """Publish any bytes, as JSON if nothing else is said, and await each confirm."""
        given = {"content_type": "application/json", "delivery_mode": 2, **properties}
        with channel_of(self.url) as channel:
            for body in bodies:
                channel.basic_publish(
                    broker.inbox_exchange(self.name),
                    "any",
                    body,
                    pika.BasicProperties(**given),
                    mandatory=True,
                )

    def flood(self, messages: Iterable[dict[str, Any]]) -> None:
        """Publish many at once, with one promise for all."""
        with channel_of(self.url, confirm=False) as channel:
            channel.tx_select()
            for message in messages:
                channel.basic_publish(
                    broker.inbox_exchange(self.name),
                    "",
                    json.dumps(message).encode(),
                    pika.BasicProperties(content_type="application/json", delivery_mode=2),
                )
            channel.tx_commit()

    def read(self) -> list[Seen]:
        """All events so far, oldest first, with what has come since this was last asked.

        On a connection that stays: a broker may deliver again what was acknowledged just
        before a connection closed.
        """
        if self._reading is None or not self._reading.is_open:
            self._reading = connect(self.url).channel()
        try:
            while True:
                method, properties, body = self._reading.basic_get(f"out.{self.name}")
                if method is None:
                    return self.seen
                self.seen.append(Seen(properties, json.loads(body)))
                self._reading.basic_ack(method.delivery_tag)
        except AMQPError:
            self._reading = None
            return self.seen

    def of(self, *types: str) -> list[Seen]:
        """Events of these types that were read."""
        return [each for each in self.seen if each.type in types]

    def await_events(
        self, count: int, *types: str, timeout_s: float = 30, distinct: bool = False
    ) -> list[Seen]:
        """Read until there are so many events of these types, and return them."""

        def enough() -> bool:
            self.read()
            found = self.of(*types)
            return len({each.event["id"] for each in found} if distinct else found) >= count

        wait_until(enough, timeout_s, 0.05, what=f"{count} of {types}")
        return self.of(*types)

    def close(self) -> None:
        if self._reading is not None and self._reading.is_open:
            with suppress(AMQPError):
                self._reading.connection.close()

    def instruction_id(self, key: str) -> str:
        return instruction_id(self.client_id, key)


class PartnerHouse(House):
    """A house whose partners have queues of their own."""

    def __init__(self, services: Services, folder: Path, **overrides: Any) -> None:
        admin_url = services.rabbitmq.management_url
        super().__init__(services, folder, broker_admin_url=admin_url, **overrides)
        self._provisioning = Provisioning(self.settings, self.engine)
        self.admin = BrokerAdmin(admin_url, self.vhost)
        self._banks: list[Bank] = []

    def partner(self, scopes: Iterable[str] = SCOPES, rate_per_s: int = 100_000) -> Bank:
        """Make a partner."""
        name = f"bank-{uuid.uuid4().hex[:8]}"
        asked = Asked(name, scopes=sorted(scopes), rate_per_s=rate_per_s)
        issued = self._provisioning.add(asked, who="tests", reason="tests")
        assert issued.broker_url is not None
        assert issued.api_key is not None
        [row] = self.rows("SELECT id FROM clients WHERE name = :name", name=name)
        self._banks.append(Bank(name, row.id, issued.broker_url, issued.api_key))
        return self._banks[-1]

    def suspend(self, bank: Bank, reason: str) -> None:
        with self.engine.begin() as connection:
            partners.suspend(connection, bank.name, who="tests", reason=reason)

    def resume(self, bank: Bank) -> None:
        with self.engine.begin() as connection:
            partners.resume(connection, bank.name, who="tests", reason="tests")

    def remove(self, bank: Bank) -> None:
        self._provisioning.remove(bank.name, force=True, who="tests", reason="tests")

    def provision_again(self, bank: Bank) -> None:
        """Make what is missing of a partner."""
        self._provisioning.add(Asked(bank.name), who="tests", reason="tests")

    def inbox(self, **overrides: Any) -> Worker:
        """Start an inbox worker."""
        return self.start("worker", "inbox", **overrides)

    def everything(self) -> None:
        """Start one worker of each kind."""
        for worker in (self.inbox(), self.worker(), self.callbacks()):
            worker.ready()

    def await_inbox_blocked(self) -> None:
        """Wait until the inbox worker waits for a lock in Postgres."""
        wait_until(
            lambda: self.rows(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'tekana-inbox' AND wait_event_type = 'Lock'"
            ),
            what="an inbox worker that waits for a lock",
        )

    @contextmanager
    def partitions_unbound(self) -> Iterator[None]:
        """No partition takes a message meanwhile."""
        with self.channel() as channel:
            for partition in range(PARTITIONS):
                queue = broker.partition_queue(partition)
                channel.queue_unbind(queue.name, queue.exchange, queue.routing_key)
        try:
            yield
        finally:
            self.declare()

    def callbacks(self, **overrides: Any) -> Worker:
        """Start a callback worker, which tells partners what was decided."""
        return self.start("worker", "callbacks", **overrides)

    @contextmanager
    def impersonator(self) -> Iterator[str]:
        """The URL of a user of the broker who may write anybody's name into a message."""
        name = f"impersonator-{uuid.uuid4().hex[:8]}"
        rabbitmq = self.services.rabbitmq
        rabbitmq.ctl("add_user", name, "secret")
        rabbitmq.ctl("set_user_tags", name, "impersonator")
        rabbitmq.ctl("set_permissions", "-p", self.vhost, name, ".*", ".*", ".*")
        address = self.settings.broker_url.get_secret_value().partition("@")[2]
        try:
            yield f"amqp://{name}:secret@{address}"
        finally:
            rabbitmq.ctl("delete_user", name)

    def forwarded(self, wallet: str, key: str) -> tuple[pika.BasicProperties, Instruction]:
        """The message with this key in the partition of a wallet; those before it are taken out."""
        queue = broker.partition_queue(partition_of(wallet_id(wallet), PARTITIONS)).name
        with self.channel() as channel:
            for method, properties, body in channel.consume(queue, inactivity_timeout=30):
                assert body is not None, f"nothing with the key {key} is in the queue"
                channel.basic_ack(method.delivery_tag)
                instruction = decode(body)
                if instruction.idempotency_key == key:
                    return properties, instruction
        raise AssertionError

    def beat(self) -> Worker:
        """Start beat, which has callback workers look for what was forgotten."""
        return self.start("beat")

    def receipts(self, bank: Bank) -> list[dict[str, Any]]:
        """The receipts in the ledger's database, oldest first."""
        found = self.rows(
            "SELECT documents FROM events WHERE client_id = :id AND documents IS NOT NULL"
            " ORDER BY xact, at",
            id=bank.client_id,
        )
        return [document for row in found for document in row.documents]

    def inbox_left(self, bank: Bank) -> int:
        """Messages in an inbox that no worker holds."""
        queue = broker.inbox_queue(bank.name).name
        with self.channel() as channel:
            left: int = channel.queue_declare(queue, passive=True).method.message_count
            return left

    def assert_each_once_and_in_order(self, bank: Bank, keys: Sequence[str]) -> None:
        """Each key has one outcome, given in the order sent, and its receipt came before it."""
        known = set(keys)
        for partition in range(PARTITIONS):
            decided = [key for key in self.decided(partition) if key in known]
            assert decided == [key for key in keys if key in set(decided)]
        assert sorted(key for key in self.decided() if key in known) == sorted(keys)
        for key in keys:
            types = [each.type for each in bank.seen if each.key == key]
            assert types[0] == "instruction.accepted", types
            assert "instruction.succeeded" in types
        self.assert_books_whole()

    def close(self) -> None:
        for bank in self._banks:
            bank.close()
        super().close()
        for bank in self._banks:
            self.admin.delete_user(broker.partner_user(bank.name))

"""A wallet house for worker tests: a database and a virtual host of its own, real processes."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika
from pika.adapters.blocking_connection import BlockingChannel
from sqlalchemy import NullPool, create_engine, text

from config import broker
from config.settings import Settings
from domain.identity import partition_of
from domain.instructions import Instruction, encode
from ops.stack.services import Services
from producers import topology
from storage.clients import SCOPES, add_client
from storage.engine import ledger_engine
from storage.ledger import Ledger
from storage.verify import verify
from tests.bookkeeping import CLIENT, deposit, open_customer, open_wallet, transfer, wallet_id
from tests.support import fresh_database, wait_until

ROOT = Path(__file__).parents[2]
PARTITIONS = 8


class Worker:
    """One process of ours, with what it logs."""

    def __init__(self, settings: Settings, folder: Path, *arguments: str) -> None:
        name = uuid.uuid4().hex[:8]
        self.ready_file = folder / f"{name}.ready"
        self.log_file = folder / f"{name}.log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ops", *arguments],
                cwd=ROOT,
                env=environment(settings) | {"TEKANA_READY_FILE": str(self.ready_file)},
                stdout=log,
                stderr=log,
            )

    def ready(self) -> "Worker":
        """Wait until it consumes all that it is to consume."""
        wait_until(self.is_ready, 30, what="a worker to be ready")
        return self

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log_file.read_text()
        return self.ready_file.exists()

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The lines with this message."""
        lines = self.log_file.read_text().splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{")]
        return [record for record in records if record["message"] == message]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout_s: float = 20) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.process.wait(timeout_s)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


class House:
    """Wallets `a` to `h`, one in each partition, with 1,000,000 each; and words to test with."""

    def __init__(self, services: Services, folder: Path, **overrides: Any) -> None:
        self.services = services
        self.folder = folder
        self.vhost = f"test-{uuid.uuid4().hex[:12]}"
        self.manage("PUT", f"vhosts/{self.vhost}")
        url = services.broker_url.rsplit("/", 1)[0] + "/" + self.vhost
        self.settings = fresh_database(services, PARTITIONS, **overrides, broker_url=url)
        # A connection for each question, because tests restart Postgres.
        url = self.settings.database_url.get_secret_value()
        self.engine = create_engine(url.replace("://", "+psycopg2://", 1), poolclass=NullPool)
        self.declare()
        self._workers: list[Worker] = []
        self.names = [_name_in(partition) for partition in range(PARTITIONS)]
        self._furnish()

    def declare(self) -> None:
        """Make the queues exist."""
        topology.declare(self.settings.broker_url.get_secret_value(), PARTITIONS)

    def worker(self, partitions: str = "0-7", **overrides: Any) -> Worker:
        """Start a ledger worker."""
        return self.start("worker", "ledger", "--partitions", partitions, **overrides)

    def start(self, *arguments: str, **overrides: Any) -> Worker:
        """Start a worker process."""
        settings = self.settings.model_copy(update=overrides)
        self._workers.append(Worker(settings, self.folder, *arguments))
        return self._workers[-1]

    def publish(self, instructions: Iterable[Instruction]) -> None:
        """Publish in order; returns once the broker has all of them."""
        self.publish_bodies(
            (partition_of(each.partition_key, PARTITIONS), encode(each)) for each in instructions
        )

    def publish_bodies(
        self,
        bodies: Iterable[tuple[int, bytes]],
        properties: pika.BasicProperties | None = None,
    ) -> None:
        """Publish any bytes to partitions, in order."""
        with self.channel() as channel:
            channel.tx_select()
            for partition, body in bodies:
                channel.basic_publish(
                    broker.LEDGER_EXCHANGE,
                    str(partition),
                    body,
                    properties or pika.BasicProperties(delivery_mode=2),
                )
            channel.tx_commit()

    @contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """A channel of the broker."""
        url = self.settings.broker_url.get_secret_value()
        connection = pika.BlockingConnection(pika.URLParameters(url))
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()

    def decided(self, partition: int | None = None) -> list[str]:
        """Keys in the order of decision, which is told within a partition only."""
        where = "" if partition is None else f"WHERE partition = {partition}"
        found = self.rows(
            f"SELECT idempotency_key FROM instructions {where} ORDER BY partition, position"
        )
        return [row[0] for row in found]

    def rows(self, sql: str, **parameters: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(sql), parameters))

    def run(self, sql: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql))

    def parked(self) -> list[Any]:
        """Unresolved parked messages, oldest first."""
        return self.rows(
            "SELECT *, instruction_id::text AS id_text FROM parked"
            " WHERE resolution IS NULL ORDER BY id"
        )

    def await_decided(self, keys: Iterable[object], timeout_s: float = 30) -> None:
        """Wait until each key has its outcome."""
        wanted = {str(key) for key in keys}

        def missing() -> set[str]:
            return wanted - set(self.decided())

        wait_until(lambda: not missing(), timeout_s, 0.05, what=f"{len(wanted)} outcomes")

    def assert_all_acknowledged(self) -> None:
        """End the workers in order; what they had not acknowledged would be in the queues."""
        for worker in self._workers:
            if worker.process.poll() is None:
                assert worker.terminate() == 0
        assert self.waiting() == 0

    def waiting(self) -> int:
        """Messages in the partition queues that no worker holds."""
        with self.channel() as channel:
            return sum(
                channel.queue_declare(
                    broker.partition_queue(partition).name, passive=True
                ).method.message_count
                for partition in range(PARTITIONS)
            )

    def manage(self, method: str, path: str) -> Any:
        """Ask RabbitMQ's management API."""
        url = urlsplit(self.services.rabbitmq.management_url)
        request = urllib.request.Request(
            f"http://{url.hostname}:{url.port}/api/{path}",
            method=method,
            headers={
                "Authorization": "Basic "
                + b64encode(f"{url.username}:{url.password}".encode()).decode(),
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def assert_decided_in_order(self, sent: Sequence[Instruction]) -> None:
        """Each of these has one outcome, given in the order they were published."""
        for partition in range(PARTITIONS):
            wanted = [
                each.idempotency_key
                for each in sent
                if partition_of(each.partition_key, PARTITIONS) == partition
            ]
            known = set(wanted)
            assert [key for key in self.decided(partition) if key in known] == wanted
        assert self.parked() == []
        self.assert_books_whole()

    def transfers(self, count: int, prefix: str = "k", partitions: int = PARTITIONS) -> list[Any]:
        """Transfers of 1 from wallets of so many partitions in turn, each to the next."""
        names = self.names
        return [
            transfer(
                f"{prefix}{number}",
                names[number % partitions],
                names[(number + 1) % PARTITIONS],
                1,
            )
            for number in range(count)
        ]

    def await_blocked_ledger(self, event: str) -> None:
        """Wait until a ledger worker's transaction waits for this kind of lock."""
        wait_until(
            lambda: self.rows(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'tekana-ledger' AND wait_event = :event",
                event=event,
            ),
            what=f"a ledger transaction that waits for {event}",
        )

    def assert_books_whole(self) -> None:
        verdict = verify(self.engine)
        assert verdict.sound, verdict

    def close(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.go_on()
                worker.kill()
        self.engine.dispose()
        self.manage("DELETE", f"vhosts/{self.vhost}")

    def _furnish(self) -> None:
        with self.engine.begin() as connection:
            made = add_client(connection, "tests", SCOPES, who="tests", reason="tests")
        assert made == CLIENT
        engine = ledger_engine(self.settings)
        ledger = Ledger(engine, PARTITIONS)
        _decide(ledger, 0, [open_customer("customer", "Ama")])
        for partition, name in enumerate(self.names):
            _decide(
                ledger,
                partition,
                [
                    open_wallet(f"open-{name}", name, "Ama"),
                    deposit(f"fund-{name}", name, 1_000_000),
                ],
            )
        engine.dispose()


def environment(settings: Settings) -> dict[str, str]:
    """The variables that give another process the same settings."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("TEKANA_")}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is not None:
            plain = value.get_secret_value() if hasattr(value, "get_secret_value") else value
            ours[f"TEKANA_{name.upper()}"] = str(plain)
    return ours


def _decide(ledger: Ledger, partition: int, instructions: Sequence[Instruction]) -> None:
    ledger.decide(partition, instructions, lambda: datetime.now(UTC))


def _name_in(partition: int) -> str:
    """The name of a wallet whose instructions go to this partition."""
    return next(
        name
        for name in (f"w{number}" for number in range(1000))
        if partition_of(wallet_id(name), PARTITIONS) == partition
    )

"""The application in-process, on real services, with clients and a broker of its own."""

import dataclasses
import itertools
import json
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest
import redis
from apiflask import APIFlask
from werkzeug.test import Client as HttpClient
from werkzeug.test import TestResponse

from api.answers import to_json
from api.app import Parts, create_app
from config.broker import partition_queue
from config.settings import Settings
from domain.instructions import Instruction, decode
from ops.stack.services import Services
from storage import clients
from storage.engine import ledger_engine
from storage.ledger import Decided, Ledger
from storage.outcomes import Put
from tests.support import fresh_database, wait_until

PARTITIONS = 1
"""So that one queue holds everything in the order it was published."""

ALL_SCOPES = clients.SCOPES

_names = itertools.count(1)


@dataclasses.dataclass
class Door:
    """An application with one client's key, and what a test wants to look at behind it."""

    settings: Settings
    parts: Parts
    app: APIFlask
    client_id: int
    client_name: str
    key: str

    def request(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        return HttpClient(self.app).open(path, method=method, headers=headers, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.request("GET", path, **options)

    def post(
        self, path: str, body: Any, idempotency_key: str | None = None, **options: Any
    ) -> TestResponse:
        headers = {
            "Idempotency-Key": idempotency_key or str(uuid.uuid4()),
            "Content-Type": "application/json",
            **options.pop("headers", {}),
        }
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        method = options.pop("method", "POST")
        return self.request(method, path, data=raw, headers=headers, **options)

    def with_key(self, key: str) -> "Door":
        return dataclasses.replace(self, key=key)

    def published(self) -> list[Instruction]:
        """All that was published since this was last asked, in order."""
        sentinel = str(uuid.uuid4())
        assert self.post("/v1/transfers", transfer_body(), sentinel).status_code == 202
        found: list[Instruction] = []
        connection = pika.BlockingConnection(
            pika.URLParameters(self.settings.broker_url.get_secret_value())
        )
        with connection, connection.channel() as channel:
            queue = partition_queue(0).name
            for method, _, body in channel.consume(queue, inactivity_timeout=30):
                assert body is not None, "what was confirmed is in the queue"
                channel.basic_ack(method.delivery_tag)
                instruction = decode(body)
                if instruction.idempotency_key == sentinel:
                    return found
                found.append(instruction)
        raise AssertionError

    def decide(self, *, tell: bool = False) -> None:
        """Decide all that was published, as a worker does; `tell` Redis too, as it does then."""
        engine = ledger_engine(self.settings)
        batch = self.published()
        decided = Ledger(engine, PARTITIONS).decide(0, batch, lambda: datetime.now(UTC))
        engine.dispose()
        assert isinstance(decided, Decided)
        if tell:
            self.parts.outcomes.put(
                [
                    Put(
                        decision.instruction.id,
                        decision.instruction.client_id,
                        decision.outcome.fingerprint,
                        decision.outcome.status,
                        to_json(view),
                    )
                    for decision, view in decided.views()
                ]
            )

    def opened(self, currency: str = "KES", balance: int = 0) -> tuple[str, str]:
        """A new customer and a wallet of theirs with this balance, by their ids."""
        customer_id, wallet_id = str(uuid.uuid4()), str(uuid.uuid4())
        opening = {"customer_id": customer_id, "name": "Ann", "email": "a@b", "country": "KE"}
        self.post("/v1/customers", {**opening, "legacy_id": "L-1"})
        self.post(
            "/v1/wallets",
            {"wallet_id": wallet_id, "customer_id": customer_id, "currency": currency},
        )
        if balance:
            self.deposit(wallet_id, balance, currency)
        self.decide()
        return customer_id, wallet_id

    def deposit(self, wallet_id: str, amount: int, currency: str = "KES") -> TestResponse:
        body = {"wallet_id": wallet_id, "amount": amount, "currency": currency}
        return self.post("/v1/deposits", body)

    def new_client(self, scopes: Collection[str] = ALL_SCOPES) -> "Door":
        client_id, name = add_client(self.parts, scopes)
        key = add_key(self.parts, name)
        return dataclasses.replace(self, client_id=client_id, client_name=name, key=key)

    def new_key(
        self, scopes: Collection[str] | None = None, expires_at: datetime | None = None
    ) -> "Door":
        return self.with_key(add_key(self.parts, self.client_name, scopes, expires_at))


def add_client(parts: Parts, scopes: Collection[str] = ALL_SCOPES) -> tuple[int, str]:
    name = f"client-{next(_names)}"
    with parts.engine.begin() as connection:
        client_id = clients.add_client(connection, name, scopes, who="test", reason="test")
    return client_id, name


def add_key(
    parts: Parts,
    name: str,
    scopes: Collection[str] | None = None,
    expires_at: datetime | None = None,
) -> str:
    with parts.engine.begin() as connection:
        return clients.add_key(
            connection,
            name,
            kind="test",
            who="test",
            reason="test",
            scopes=scopes,
            expires_at=expires_at,
        )


def revoke(door: Door) -> None:
    """End the newest key of the door's client."""
    keys = clients.list_keys(door.parts.engine, door.client_name)
    with door.parts.engine.begin() as connection:
        clients.revoke_key(connection, keys[-1].id, who="test", reason="test")


def problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    """Assert that the answer is this problem, with all that every problem has; return it."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.mimetype == "application/problem+json"
    document: dict[str, Any] = json.loads(response.data)
    assert document["code"] == code
    assert document["type"] == f"urn:tekana:problem:{code}"
    assert document["status"] == status
    assert document["title"]
    assert document["request_id"] == response.headers["X-Request-Id"]
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    if status == 503:
        assert int(response.headers["Retry-After"]) >= 1
    return document


def transfer_body(**changes: Any) -> dict[str, Any]:
    return {
        "source_wallet_id": str(uuid.uuid4()),
        "destination_wallet_id": str(uuid.uuid4()),
        "amount": 100,
        "currency": "KES",
        **changes,
    }


def own_vhost(services: Services) -> str:
    """Make a virtual host, and return the URL of its broker."""
    vhost = f"test-{uuid.uuid4().hex[:12]}"
    url = urlsplit(services.rabbitmq.management_url)
    request = urllib.request.Request(
        f"http://{url.hostname}:{url.port}/api/vhosts/{vhost}", method="PUT"
    )
    named = b64encode(f"{url.username}:{url.password}".encode()).decode()
    request.add_header("Authorization", f"Basic {named}")
    urllib.request.urlopen(request, timeout=10).close()
    return services.broker_url.rsplit("/", 1)[0] + "/" + vhost


def forget_everything(services: Services) -> None:
    """Empty Redis."""
    with redis.Redis.from_url(services.redis_url) as client:
        client.flushall()


class Doors:
    """Makes doors, each onto a new database unless settings are given."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._opened: list[Parts] = []

    def __call__(self, settings: Settings | None = None, **overrides: Any) -> Door:
        if settings is None:
            overrides.setdefault("broker_url", own_vhost(self._services))
            settings = fresh_database(self._services, PARTITIONS, **overrides)
        parts = Parts.of(settings)
        self._opened.append(parts)
        wait_until(parts.publisher.ready, what="the publisher is ready")
        client_id, name = add_client(parts)
        key = add_key(parts, name)
        return Door(settings, parts, create_app(settings, parts), client_id, name, key)

    def close(self) -> None:
        for parts in self._opened:
            parts.close()


@pytest.fixture
def open_door(services: Services) -> Iterator[Doors]:
    """Make doors with settings of their own."""
    doors = Doors(services)
    yield doors
    doors.close()


@pytest.fixture
def door(open_door: Doors) -> Door:
    return open_door()


@pytest.fixture(scope="module")
def module_door(services: Services) -> Iterator[Door]:
    """One door for all tests of a module that leave it as it was."""
    doors = Doors(services)
    yield doors()
    doors.close()

"""The application in-process, on real services, with clients of its own."""

import dataclasses
import itertools
import json
import uuid
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Any

import pytest
from apiflask import APIFlask
from werkzeug.test import Client as HttpClient
from werkzeug.test import TestResponse

from api.app import Parts, create_app
from config.settings import Settings
from ops.stack.services import Services
from storage import clients
from tests.support import fresh_database, wait_until

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
        return self.request("POST", path, data=raw, headers=headers, **options)

    def with_key(self, key: str) -> "Door":
        return dataclasses.replace(self, key=key)

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


@pytest.fixture
def open_door(services: Services) -> Iterator[Callable[..., Door]]:
    """Make a door onto a new database; settings can be given by name."""
    opened: list[Parts] = []

    def make(settings: Settings | None = None, **overrides: Any) -> Door:
        settings = settings or fresh_database(services, **overrides)
        parts = Parts.of(settings)
        opened.append(parts)
        wait_until(parts.publisher.ready, what="the publisher is ready")
        client_id, name = add_client(parts)
        key = add_key(parts, name)
        return Door(settings, parts, create_app(settings, parts), client_id, name, key)

    yield make
    for parts in opened:
        parts.close()


@pytest.fixture
def door(open_door: Callable[..., Door]) -> Door:
    return open_door()

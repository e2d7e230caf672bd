"""Short words for callback endpoints over HTTP."""

import json
from datetime import UTC, datetime
from typing import Any

from werkzeug.test import TestResponse

from domain.events import CALLBACK_TYPES
from tests.api.conftest import Door

URL = "https://hooks.example.com/tekana"
PATH = "/v1/callback-endpoints"
ALL_EVENTS = [event.value for event in CALLBACK_TYPES]
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def add(door: Door, body: Any = None, **changes: Any) -> TestResponse:
    return door.post(PATH, {"url": URL, **changes} if body is None else body)


def added(door: Door, **changes: Any) -> dict[str, Any]:
    response = add(door, **changes)
    assert response.status_code == 201, response.data
    assert response.json is not None
    return dict(response.json)


def change(door: Door, endpoint_id: str, body: Any) -> TestResponse:
    raw = json.dumps(body)
    headers = {"Content-Type": "application/json"}
    return door.request("PATCH", f"{PATH}/{endpoint_id}", data=raw, headers=headers)


def read(door: Door, path: str) -> Any:
    response = door.get(path)
    assert response.status_code == 200, response.data
    return response.json

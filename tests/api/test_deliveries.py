"""What was sent to an endpoint is seen by its client, and sent again."""

import base64
import uuid
from datetime import timedelta

import pytest

from tests.api.conftest import Door, problem
from tests.api.endpoints import NOW, PATH, added, read
from tests.deliveries import FAILED, TAKEN, add_delivery


def test_deliveries_are_listed_newest_first_with_their_attempts(door: Door) -> None:
    path = f"{PATH}/{added(door)['id']}"
    ids = [
        add_delivery(door.parts.engine, path.rpartition("/")[2], NOW + timedelta(microseconds=n))
        for n in range(5)
    ]

    first = read(door, f"{path}/deliveries?limit=3")
    second = read(door, f"{path}/deliveries?limit=3&cursor={first['next_cursor']}")

    assert [each["id"] for each in first["data"] + second["data"]] == ids[::-1]
    assert second["next_cursor"] is None
    assert first["data"][0] == {
        "id": ids[-1],
        "type": "instruction.succeeded",
        "timestamp": "2026-11-23T10:00:00.000Z",
        "status": "delivered",
        "next_attempt_at": None,
        "delivered_at": TAKEN["at"],
        "attempts": [FAILED, TAKEN],
    }
    assert read(door, f"{path}/deliveries?status=pending")["data"] == []
    assert len(read(door, f"{path}/deliveries?status=delivered")["data"]) == 5


SOME_ID = b"0a000000-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "status=", "status=lost", "status=pending&status=pending", "cursor=x",
     "cursor=" + base64.urlsafe_b64encode(b"d1").decode(),
     "cursor=" + base64.urlsafe_b64encode(b"d1.x").decode(),
     "cursor=" + base64.urlsafe_b64encode(b"dx." + SOME_ID).decode(),
     "cursor=" + base64.urlsafe_b64encode(b"i" + SOME_ID).decode(),
     "after_seq=1"],
)  # fmt: skip
def test_a_query_that_is_garbage_is_invalid(module_door: Door, query: str) -> None:
    path = f"{PATH}/{uuid.uuid4()}/deliveries?{query}"

    problem(module_door.get(path), 422, "invalid_query")


def test_the_last_place_that_a_cursor_can_name_is_a_place(door: Door) -> None:
    path = f"{PATH}/{added(door)['id']}/deliveries"
    cursor = base64.urlsafe_b64encode(b"d9999999999999999." + str(uuid.uuid4()).encode()).decode()

    assert read(door, f"{path}?cursor={cursor}") == {"data": [], "next_cursor": None}


def test_a_delivery_is_repeated(door: Door) -> None:
    endpoint_id = added(door)["id"]
    event_id = add_delivery(door.parts.engine, endpoint_id, NOW)
    path = f"{PATH}/{endpoint_id}/deliveries"

    response = door.request("POST", f"{path}/{event_id}/redeliver")

    assert response.status_code == 202
    shown = response.json
    assert shown is not None
    assert (shown["id"], shown["status"], shown["delivered_at"]) == (event_id, "pending", None)
    assert shown["next_attempt_at"].endswith("Z")
    assert [each.get("redeliver") for each in shown["attempts"]] == [None, None, "client"]
    assert read(door, f"{path}?status=pending")["data"] == [shown]
    unknown = door.request("POST", f"{path}/{uuid.uuid4()}/redeliver")
    problem(unknown, 404, "not_found")

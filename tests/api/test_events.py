"""A client's own events over HTTP."""

import base64
import uuid
from typing import Any

import pytest

from domain.events import EventType
from storage import clients
from tests.api.conftest import Door, problem


def read(door: Door, query: str = "") -> dict[str, Any]:
    response = door.get(f"/v1/events{query}")
    assert response.status_code == 200, response.data
    assert response.json is not None
    assert set(response.json) == {"data", "next_cursor"}
    return dict(response.json)


def everything(door: Door, query: str = "") -> list[dict[str, Any]]:
    """All events, by following the cursors until they stay where they are."""
    found, cursor = [], None
    while True:
        page = read(door, f"?{query}" + (f"&cursor={cursor}" if cursor else ""))
        found += page["data"]
        if page["next_cursor"] == cursor:
            return found
        cursor = page["next_cursor"]


def test_outcomes_and_entries_come_oldest_first_as_they_are_polled(door: Door) -> None:
    customer_id, wallet_id = door.opened("KES", 100)

    opened, wallet, deposited, posted = everything(door)

    assert [e["type"] for e in (opened, wallet, deposited)] == ["instruction.succeeded"] * 3
    assert opened["data"]["data"] == {
        "customer_id": customer_id,
        "country": "KE",
        "legacy_id": "L-1",
    }
    polled = door.get(f"/v1/instructions/{deposited['data']['id']}").json
    assert deposited["data"] == polled
    assert posted["type"] == "entry.posted"
    [entry] = (door.get(f"/v1/wallets/{wallet_id}/entries").json or {})["data"]
    assert posted["data"] == {"wallet_id": wallet_id, **entry}
    for event in (opened, wallet, deposited, posted):
        assert set(event) == {"version", "id", "type", "timestamp", "data"}
        assert event["version"] == 1
        assert uuid.UUID(event["id"])


def test_there_is_always_a_cursor_and_it_goes_on_later(door: Door) -> None:
    empty = read(door)
    door.opened()
    known = everything(door)
    end = read(door)["next_cursor"]
    door.opened()

    assert empty["data"] == []
    assert read(door, f"?cursor={empty['next_cursor']}")["data"][:2] == known
    later = read(door, f"?cursor={end}")["data"]
    assert len(later) == 2
    assert everything(door) == known + later


def test_pages_and_types(door: Door) -> None:
    door.opened("KES", 100)
    whole = everything(door)

    assert everything(door, "limit=1") == whole
    assert len(read(door, "?limit=3")["data"]) == 3
    for type_ in EventType:
        found = everything(door, f"type={type_}&limit=1")
        assert found == [event for event in whole if event["type"] == type_]


def test_each_client_reads_its_own_and_a_payee_hears_of_money(door: Door) -> None:
    _, mine = door.opened("KES", 100)
    other = door.new_client()
    _, theirs = other.opened("KES", 5000)
    watcher, nobody = door.new_client(), door.new_client()
    with door.parts.engine.begin() as connection:
        clients.grant(connection, watcher.client_name, theirs, who="test", reason="test")
    before = {id(each): everything(each) for each in (door, other)}

    door.post(
        "/v1/transfers",
        {
            "source_wallet_id": mine,
            "destination_wallet_id": theirs,
            "amount": 30,
            "currency": "KES",
            "metadata": {"order": "4711"},
        },
    )
    door.decide()

    told = everything(door)[len(before[id(door)]) :]
    assert [event["type"] for event in told] == ["instruction.succeeded", "entry.posted"]
    assert "5030" not in str(told)
    [heard] = everything(other)[len(before[id(other)]) :]
    assert (heard["data"]["amount"], heard["data"]["balance"]) == (30, 5030)
    assert heard["data"]["metadata"] is None
    [watched] = everything(watcher)
    assert watched["data"] == heard["data"]
    assert watched["id"] != heard["id"]
    assert everything(nobody) == []


def test_any_key_of_the_client_reads_its_events(door: Door) -> None:
    door.opened()

    assert everything(door.new_key(["deposits:write"])) == everything(door)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=201", "limit=x", "limit=1&limit=2",
        "cursor=", "cursor=x", "cursor=%00", "cursor=" + "A" * 5000, "cursor=a&cursor=b",
        "type=", "type=instruction", "type=entry.posted%00", "type=entry.posted,instruction.parked",
        "type=entry.posted&type=instruction.parked", "types=entry.posted", "after=1",
    ],
)  # fmt: skip
def test_a_query_that_is_garbage_is_invalid(module_door: Door, query: str) -> None:
    document = problem(module_door.get(f"/v1/events?{query}"), 422, "invalid_query")

    assert document["errors"]


@pytest.mark.parametrize(
    "text",
    ["", "f", "f1", "f1.2", "f1.2.3.4", "f-1.2.3", "f1.2.-3", "f1.2.x", "f١.2.3", "f1.2.3\n",
     "i1.2.3", f"f{2**63}.1.1", f"f1.{'9' * 18}.1", f"f1.1.{2**31}", "f" + "9" * 40 + ".1.1",
     f"f{2**62}.1.1"],
)  # fmt: skip
def test_a_cursor_that_was_made_up_is_invalid(module_door: Door, text: str) -> None:
    cursor = base64.urlsafe_b64encode(text.encode()).decode()

    problem(module_door.get(f"/v1/events?cursor={cursor}"), 422, "invalid_query")

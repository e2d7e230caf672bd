"""Customers, wallets and entries, page by page."""

import base64
import uuid
from typing import Any

import pytest

from storage import clients
from tests.api.conftest import Door, problem


def read(door: Door, path: str) -> Any:
    response = door.get(path)
    assert response.status_code == 200, response.data
    return response.json


def pages(door: Door, path: str) -> list[list[Any]]:
    """Every page of a list, by following its cursors."""
    found, cursor = [], ""
    while True:
        page = read(door, path + cursor)
        assert set(page) == {"data", "next_cursor"}
        found.append(page["data"])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_a_key_without_scopes_of_customers_polls_no_name_phone_or_email(door: Door) -> None:
    body = {"name": "Ann", "phone": "+254700000001", "email": "a@b", "country": "KE"}
    location = door.post("/v1/customers", body, "customer-1").headers["Location"]
    narrow = door.new_key(["wallets:read"])

    for decided in (False, True):
        if decided:
            door.decide(tell=True)
        for where in (location, "/v1/instructions?idempotency_key=customer-1"):
            seen, all_of_it = read(narrow, where), read(door, where)
            assert {"name", "phone", "email"} <= all_of_it["data"].keys()
            assert seen["data"] == {
                k: v for k, v in all_of_it["data"].items() if k in ("customer_id", "country")
            }
            assert seen["status"] == all_of_it["status"]


def test_a_customer_is_read_as_opened(door: Door) -> None:
    customer_id, _ = door.opened()

    customer = read(door, f"/v1/customers/{customer_id}")

    assert customer.pop("created_at").endswith("Z")
    assert customer == {
        "id": customer_id,
        "name": "Ann",
        "phone": None,
        "email": "a@b",
        "country": "KE",
        "legacy_id": "L-1",
        "status": "open",
    }
    assert read(door, f"/v1/customers/{customer_id.upper()}")["id"] == customer_id


def test_customers_are_found_by_their_legacy_id(door: Door) -> None:
    ids = sorted(door.opened()[0] for _ in range(5))

    found = pages(door, "/v1/customers?legacy_id=L-1&limit=2")

    assert [len(page) for page in found] == [2, 2, 1]
    assert [customer["id"] for page in found for customer in page] == ids
    assert read(door, "/v1/customers?legacy_id=L-2") == {"data": [], "next_cursor": None}


def test_a_wallet_shows_its_balance_and_its_exponent(door: Door) -> None:
    customer_id, wallet_id = door.opened("KWD", 1234)

    wallet = read(door, f"/v1/wallets/{wallet_id}")

    assert wallet.pop("opened_at").endswith("Z")
    assert wallet == {
        "id": wallet_id,
        "customer_id": customer_id,
        "legacy_id": None,
        "currency": "KWD",
        "exponent": 3,
        "balance": 1234,
        "available": 1234,
        "status": "open",
        "seq": 1,
    }


def test_the_wallets_of_a_customer_come_in_pages(door: Door) -> None:
    customer_id, wallet_id = door.opened()
    more = [
        door.post("/v1/wallets", {"customer_id": customer_id, "currency": "RWF"}) for _ in range(3)
    ]
    door.decide()

    found = pages(door, f"/v1/customers/{customer_id}/wallets?limit=2")

    assert [len(page) for page in found] == [2, 2]
    opened = {
        wallet_id,
        *(response.json["data"]["wallet_id"] for response in more if response.json),
    }
    assert {wallet["id"] for page in found for wallet in page} == opened


def test_a_customer_without_wallets_has_an_empty_list(door: Door) -> None:
    opening = {"name": "A", "email": "a@b", "country": "RW"}
    response = door.post("/v1/customers", opening)
    door.decide()
    assert response.json is not None

    path = f"/v1/customers/{response.json['data']['customer_id']}/wallets"

    assert read(door, path) == {"data": [], "next_cursor": None}


def test_entries_come_newest_first_and_after_a_seq_oldest_first(door: Door) -> None:
    _, wallet_id = door.opened()
    for amount in range(1, 8):
        door.deposit(wallet_id, amount)
    door.decide()
    path = f"/v1/wallets/{wallet_id}/entries"

    newest_first = pages(door, f"{path}?limit=3")
    oldest_first = pages(door, f"{path}?limit=3&after_seq=2")

    assert [[e["seq"] for e in page] for page in newest_first] == [[7, 6, 5], [4, 3, 2], [1]]
    assert [[e["seq"] for e in page] for page in oldest_first] == [[3, 4, 5], [6, 7]]
    assert read(door, f"{path}?after_seq=7") == {"data": [], "next_cursor": None}
    assert len(read(door, path)["data"]) == 7
    first = newest_first[-1][0]
    assert first.pop("posted_at").endswith("Z")
    assert uuid.UUID(first.pop("instruction_id"))
    assert first == {
        "seq": 1,
        "amount": 1,
        "balance": 1,
        "currency": "KES",
        "exponent": 2,
        "type": "deposit",
        "counterparty_wallet_id": None,
        "reference": None,
        "metadata": None,
    }


def test_a_page_is_followed_in_its_own_direction_only(door: Door) -> None:
    _, wallet_id = door.opened()
    for _ in range(3):
        door.deposit(wallet_id, 1)
    door.decide()
    path = f"/v1/wallets/{wallet_id}/entries"
    newest_first = read(door, f"{path}?limit=1")["next_cursor"]
    oldest_first = read(door, f"{path}?limit=1&after_seq=0")["next_cursor"]

    assert [e["seq"] for e in read(door, f"{path}?cursor={oldest_first}")["data"]] == [2, 3]
    response = door.get(f"{path}?after_seq=0&cursor={newest_first}")
    problem(response, 422, "invalid_query")


def test_a_granted_wallet_is_read_and_its_owner_is_not(door: Door) -> None:
    customer_id, wallet_id = door.opened("KES", 100)
    stranger = door.new_client()
    path = f"/v1/customers/{customer_id}/wallets"
    problem(stranger.get(path), 404, "not_found")
    with door.parts.engine.begin() as connection:
        clients.grant(connection, stranger.client_name, wallet_id, who="test", reason="test")

    assert read(stranger, f"/v1/wallets/{wallet_id}") == read(door, f"/v1/wallets/{wallet_id}")
    assert [wallet["id"] for wallet in read(stranger, path)["data"]] == [wallet_id]
    [entry] = read(stranger, f"/v1/wallets/{wallet_id}/entries")["data"]
    assert entry["amount"] == 100
    problem(stranger.get(f"/v1/customers/{customer_id}"), 404, "not_found")


SOME_ID = "00000000-0000-4000-8000-000000000000"

LISTS = [
    "/v1/customers?legacy_id=x&",
    f"/v1/customers/{SOME_ID}/wallets?",
    f"/v1/wallets/{SOME_ID}/entries?",
]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=201", "limit=-1", "limit=x", "limit=", "limit=1e1", "limit=%31%00",
        "limit=1&limit=2", "limit=%D9%A1", "limit=99999999999999999999",
        "cursor=", "cursor=x", "cursor=%00", "cursor=%F0%9F%92%A9", "cursor=" + "A" * 5000,
        "offset=1", "Limit=1", "%00=1", "=1",
    ],
)  # fmt: skip
def test_a_query_that_is_garbage_is_invalid(module_door: Door, path: str, query: str) -> None:
    document = problem(module_door.get(path + query), 422, "invalid_query")

    assert document["errors"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "i",
        "i1",
        f"i{SOME_ID}x",
        "<",
        "<x",
        "<-1",
        ">1.0",
        "<" + "9" * 30,
        "z1",
        "i\x00",
        "<\x00",
    ],
)
def test_a_cursor_that_was_made_up_is_invalid(module_door: Door, path: str, text: str) -> None:
    cursor = base64.urlsafe_b64encode(text.encode()).decode()

    problem(module_door.get(f"{path}cursor={cursor}"), 422, "invalid_query")


@pytest.mark.parametrize(
    "query",
    ["", "legacy_id=", "legacy_id=%00", "legacy_id=a%00", "legacy_id=" + "x" * 101,
     "legacy_id=a&legacy_id=b", "name=Ann"],
)  # fmt: skip
def test_customers_are_asked_for_by_a_legacy_id(module_door: Door, query: str) -> None:
    problem(module_door.get(f"/v1/customers?{query}"), 422, "invalid_query")


@pytest.mark.parametrize(
    "query", ["", "idempotency_key=", "idempotency_key=a%20b", "idempotency_key=" + "k" * 256]
)
def test_instructions_are_asked_for_by_a_key(module_door: Door, query: str) -> None:
    problem(module_door.get(f"/v1/instructions?{query}"), 422, "invalid_query")


@pytest.mark.parametrize("value", ["-1", "x", "1.5", str(2**53 + 1), str(2**64), ""])
def test_a_seq_that_is_garbage_is_invalid(module_door: Door, value: str) -> None:
    path = f"/v1/wallets/{SOME_ID}/entries?after_seq={value}"

    problem(module_door.get(path), 422, "invalid_query")


@pytest.mark.parametrize(
    "path", ["/v1/customers/{}", "/v1/customers/{}/wallets", "/v1/wallets/{}",
             "/v1/wallets/{}/entries", "/v1/instructions/{}"],
)  # fmt: skip
@pytest.mark.parametrize(
    "garbage",
    ["1", "x", SOME_ID[:-1], SOME_ID + "0", SOME_ID.replace("-", ""), f"{{{SOME_ID}}}",
     "%00", "..", "%2e%2e", "%F0%9F%92%A9", "'", "-", f"{SOME_ID}%00"],
)  # fmt: skip
def test_an_id_that_is_no_uuid_is_of_nothing(module_door: Door, path: str, garbage: str) -> None:
    problem(module_door.get(path.format(garbage)), 404, "not_found")

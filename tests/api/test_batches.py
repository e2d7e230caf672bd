"""Batches: each item stands alone."""

import uuid
from typing import Any

import pytest

from api.batches import ITEMS_MAX
from tests.api.conftest import Door, problem, transfer_body


def an_item(key: str | None = None, **changes: Any) -> dict[str, Any]:
    named = key or str(uuid.uuid4())
    return {"idempotency_key": named, "type": "transfer", "data": transfer_body(), **changes}


def answers(door: Door, items: list[Any]) -> list[dict[str, Any]]:
    response = door.post("/v1/batches", {"items": items}, headers={"Idempotency-Key": None})
    assert response.status_code == 202, response.data
    assert response.json is not None
    found: list[dict[str, Any]] = response.json["items"]
    assert len(found) == len(items)
    return found


def test_items_are_published_in_their_order_and_answered_in_it(door: Door) -> None:
    items = [an_item() for _ in range(50)]

    found = answers(door, items)

    published = door.published()
    assert [each.idempotency_key for each in published] == [i["idempotency_key"] for i in items]
    assert found == [
        {
            "idempotency_key": item["idempotency_key"],
            "id": each.id,
            "status": "queued",
            "data": item["data"],
        }
        for item, each in zip(items, published, strict=True)
    ]


def test_a_batch_holds_every_type_and_as_many_items_as_stated(door: Door) -> None:
    money = {"wallet_id": str(uuid.uuid4()), "amount": 1, "currency": "KES"}
    items = [
        an_item(type="customer.open", data={"name": "A", "email": "a@b", "country": "RW"}),
        an_item(type="wallet.open", data={"customer_id": str(uuid.uuid4()), "currency": "RWF"}),
        an_item(type="deposit", data=money),
        an_item(type="withdrawal", data=money),
        *(an_item() for _ in range(ITEMS_MAX - 4)),
    ]

    assert {answer["status"] for answer in answers(door, items)} == {"queued"}
    assert len(door.published()) == ITEMS_MAX


def test_what_is_wrong_with_one_item_is_no_concern_of_the_others(door: Door) -> None:
    key = str(uuid.uuid4())
    wrong: list[tuple[Any, str, str | None]] = [
        (an_item(key, data={}), "invalid_body", key),
        (an_item(key, data=transfer_body(amount=0)), "invalid_body", key),
        (an_item(key, data=[]), "invalid_body", key),
        (an_item(key, type="refund"), "invalid_body", key),
        (an_item(key, type=7), "invalid_body", key),
        (an_item(key, note=1), "invalid_body", key),
        ({"idempotency_key": key, "type": "transfer"}, "invalid_body", key),
        ({"idempotency_key": key, "data": {}}, "invalid_body", key),
        ({"type": "transfer", "data": transfer_body()}, "idempotency_key_missing", None),
        (an_item(idempotency_key=None), "idempotency_key_missing", None),
        (an_item(idempotency_key=""), "idempotency_key_invalid", None),
        (an_item(idempotency_key="a b"), "idempotency_key_invalid", None),
        (an_item(idempotency_key="k" * 256), "idempotency_key_invalid", None),
        (an_item(idempotency_key=7), "idempotency_key_invalid", None),
        (an_item(idempotency_key=["k"]), "idempotency_key_invalid", None),
        (7, "invalid_body", None),
        (None, "invalid_body", None),
        ([], "invalid_body", None),
        ("text", "invalid_body", None),
    ]
    items = [item for pair in wrong for item in (pair[0], an_item())]

    found = answers(door, items)

    for place, (answer, (_, code, shown)) in enumerate(zip(found[::2], wrong, strict=True)):
        assert answer["status"] == "refused"
        assert answer["idempotency_key"] == shown
        assert answer["problem"]["code"] == code
        for error in answer["problem"].get("errors", []):
            assert error["pointer"].startswith(f"/items/{2 * place}")
    assert {answer["status"] for answer in found[1::2]} == {"queued"}
    assert len(door.published()) == len(wrong)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"items": []},
        {"items": None},
        {"items": {}},
        {"items": "text"},
        {"items": [{}], "more": 1},
        {"items": [1] * (ITEMS_MAX + 1)},
    ],
)
def test_a_batch_of_nothing_or_of_too_much_is_refused_whole(door: Door, body: Any) -> None:
    document = problem(door.post("/v1/batches", body), 422, "invalid_body")

    assert document["errors"]
    assert door.published() == []


def test_the_same_item_twice_is_one_instruction_and_another_body_is_refused(door: Door) -> None:
    key = str(uuid.uuid4())
    item = an_item(key)

    first, same, other, again = answers(door, [item, item, an_item(key), item])

    assert first == same == again
    assert first["status"] == "queued"
    assert other["status"] == "refused"
    assert other["problem"]["code"] == "idempotency_key_reused"
    assert [each.id for each in door.published()] == [first["id"]]


def test_a_body_that_conflicts_does_not_stand_in_the_way_of_the_one_that_came_first(
    door: Door,
) -> None:
    key = str(uuid.uuid4())
    item = an_item(key)
    [first] = answers(door, [item])

    other, same = answers(door, [an_item(key), item])

    assert other["problem"]["code"] == "idempotency_key_reused"
    assert same == first


@pytest.mark.parametrize("tell", [True, False])
def test_a_batch_repeated_tells_what_was_decided_and_publishes_the_rest(
    door: Door, *, tell: bool
) -> None:
    decided, undecided = an_item(), an_item()
    answers(door, [decided])
    door.decide(tell=tell)

    found = answers(door, [decided, undecided])

    assert [answer["status"] for answer in found] == ["rejected", "queued"]
    assert [each.idempotency_key for each in door.published()] == [undecided["idempotency_key"]]


def test_scope_is_asked_for_by_item(door: Door) -> None:
    narrow = door.new_key(["deposits:write"])
    money = {"wallet_id": str(uuid.uuid4()), "amount": 1, "currency": "KES"}

    allowed, refused = answers(narrow, [an_item(type="deposit", data=money), an_item()])

    assert allowed["status"] == "queued"
    assert refused["status"] == "refused"
    assert refused["problem"]["code"] == "forbidden"
    assert [each.type for each in door.published()] == ["deposit"]


def test_a_refused_item_spends_no_key(door: Door) -> None:
    key = str(uuid.uuid4())
    answers(door, [an_item(key, data={})])

    [answer] = answers(door, [an_item(key)])

    assert answer["status"] == "queued"

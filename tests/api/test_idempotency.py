"""One key, one instruction, whatever happens in between."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from domain.instructions import encode
from ops.stack.services import Services
from storage import reads
from storage.parked import park
from tests.api.conftest import Door, forget_everything, problem, transfer_body


@pytest.mark.parametrize("key", [None, "", " ", "\t"])
def test_a_key_is_needed(module_door: Door, key: str | None) -> None:
    response = module_door.post("/v1/transfers", transfer_body(), headers={"Idempotency-Key": key})

    problem(response, 400, "idempotency_key_missing")
    assert module_door.published() == []


@pytest.mark.parametrize(
    "key", ['""', "k" * 256, "a b", "a\tb", "ké", "k\x7f", "k\x01", '"a b"', f'"{"k" * 256}"']
)
def test_a_key_is_1_to_255_visible_ascii_characters(module_door: Door, key: str) -> None:
    response = module_door.post("/v1/transfers", transfer_body(), key)

    problem(response, 400, "idempotency_key_invalid")
    assert module_door.published() == []


def test_quotes_around_a_key_are_not_part_of_it(module_door: Door) -> None:
    key, body = str(uuid.uuid4()), transfer_body()

    bare = module_door.post("/v1/transfers", body, key)
    quoted = module_door.post("/v1/transfers", body, f'"{key}"')

    assert bare.json is not None
    assert bare.json["idempotency_key"] == key
    assert quoted.json == bare.json


@pytest.mark.parametrize("key", ["k" * 215, "~!@#$%^&*()_+-=[]{}|;:,.<>?/", 'a"b'])
def test_every_visible_ascii_character_makes_a_key(module_door: Door, key: str) -> None:
    key += uuid.uuid4().hex

    response = module_door.post("/v1/transfers", transfer_body(), key)

    assert response.status_code == 202
    assert response.json is not None
    assert response.json["idempotency_key"] == key


def test_an_instruction_is_accepted_as_the_contract_shows_it(door: Door) -> None:
    key, body = str(uuid.uuid4()), transfer_body(reference="Zürich", metadata={"a": "b"})

    response = door.post("/v1/transfers", body, key)

    [published] = door.published()
    assert response.status_code == 202
    assert response.mimetype == "application/json"
    assert response.headers["Location"] == f"/v1/instructions/{published.id}"
    assert "Idempotent-Replayed" not in response.headers
    assert "Preference-Applied" not in response.headers
    assert response.json == {
        "id": published.id,
        "idempotency_key": key,
        "type": "transfer",
        "status": "queued",
        "submitted_at": published.submitted_at,
        "data": body,
    }
    assert (published.client_id, published.idempotency_key) == (door.client_id, key)
    assert published.data.given() == body


def test_openings_tell_the_ids_that_we_chose(door: Door) -> None:
    customer = door.post(
        "/v1/customers", {"name": "A", "email": "a@b", "country": "RW", "currencies": ["RWF"]}
    )
    wallet = door.post("/v1/wallets", {"customer_id": str(uuid.uuid4()), "currency": "RWF"})

    assert customer.json is not None
    assert wallet.json is not None
    assert uuid.UUID(customer.json["data"]["customer_id"]).version == 8
    assert uuid.UUID(wallet.json["data"]["wallet_id"]).version == 8


def test_a_repeat_of_what_is_not_decided_is_published_again_as_it_was_first_said(
    door: Door,
) -> None:
    key, body = str(uuid.uuid4()), transfer_body()

    first = door.post("/v1/transfers", body, key)
    again = door.post("/v1/transfers", dict(reversed(body.items())), key)

    assert again.status_code == 202
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json == first.json
    one, two = door.published()
    assert one == two


def test_a_note_whose_publish_never_happened_is_no_answer(door: Door) -> None:
    key, body = str(uuid.uuid4()), transfer_body()
    door.post("/v1/transfers", body, key)
    [instruction] = door.published()  # Taken off the queue: as if it had never got there.

    response = door.post("/v1/transfers", body, key)

    assert response.status_code == 202
    assert door.published() == [instruction]


@pytest.mark.parametrize("tell", [True, False])
def test_a_repeat_of_what_is_decided_is_answered_with_the_outcome_and_not_published(
    door: Door, *, tell: bool
) -> None:
    key, body = str(uuid.uuid4()), transfer_body()
    door.post("/v1/transfers", body, key)
    door.decide(tell=tell)

    response = door.post("/v1/transfers", body, key)

    assert response.status_code == 200
    assert response.headers["Idempotent-Replayed"] == "true"
    assert response.json is not None
    assert response.json["status"] == "rejected"
    assert response.json["rejection"]["code"] == "source_not_found"
    assert response.json == door.get(response.headers["Location"]).json
    assert door.published() == []


def test_a_repeat_after_redis_forgot_is_published_and_decided_as_before(
    door: Door, services: Services
) -> None:
    key, body = str(uuid.uuid4()), transfer_body()
    first = door.post("/v1/transfers", body, key).json
    door.decide(tell=True)
    forget_everything(services)

    response = door.post("/v1/transfers", body, key)

    assert response.status_code == 202
    assert first is not None
    assert response.headers["Location"].endswith(first["id"])
    door.decide(tell=True)
    outcome = door.get(response.headers["Location"]).json
    assert outcome is not None
    assert outcome["submitted_at"] == first["submitted_at"]


def test_another_body_under_a_key_is_refused_and_not_published(door: Door) -> None:
    key, body = str(uuid.uuid4()), transfer_body()
    door.post("/v1/transfers", body, key)
    others = [
        ("/v1/transfers", body | {"amount": 101}),
        ("/v1/transfers", body | {"reference": "another"}),
        ("/v1/deposits", {"wallet_id": str(uuid.uuid4()), "amount": 1, "currency": "KES"}),
    ]
    assert len(door.published()) == 1

    for path, other in others:
        problem(door.post(path, other, key), 422, "idempotency_key_reused")
    assert door.published() == []


@pytest.mark.parametrize("tell", [True, False])
def test_another_body_is_refused_after_the_decision_too(door: Door, *, tell: bool) -> None:
    key, body = str(uuid.uuid4()), transfer_body()
    door.post("/v1/transfers", body, key)
    door.decide(tell=tell)

    problem(door.post("/v1/transfers", transfer_body(), key), 422, "idempotency_key_reused")

    assert door.post("/v1/transfers", body, key).status_code == 200


@pytest.mark.parametrize("tell", [True, False])
def test_who_waits_with_another_body_is_never_given_the_outcome_of_the_first(
    door: Door, services: Services, *, tell: bool
) -> None:
    """Redis has forgotten the key: nobody knows that it is used when the POST is taken in."""
    key = str(uuid.uuid4())
    door.post("/v1/transfers", transfer_body(), key)
    door.decide(tell=tell)
    forget_everything(services)

    waiting = {"Prefer": "wait=5"}
    other = door.post("/v1/transfers", transfer_body(amount=99), key, headers=waiting)

    problem(other, 422, "idempotency_key_reused")


def test_who_waits_with_another_body_is_not_shown_what_is_parked_under_the_key(
    door: Door, services: Services
) -> None:
    key = str(uuid.uuid4())
    person = {"name": "Ann", "email": "a@b", "country": "KE"}
    door.post("/v1/customers", person, key)
    [opening] = door.published()
    park(door.parts.engine, 0, encode(opening), {}, "a test", opening.id, datetime.now(UTC))
    forget_everything(services)
    waiting = {"Prefer": "wait=2"}

    other = door.post("/v1/transfers", transfer_body(), key, headers=waiting)
    assert other.json is not None
    assert (other.status_code, other.json["type"]) == (202, "transfer")
    forget_everything(services)
    same = door.post("/v1/customers", person, key, headers=waiting)
    assert same.json is not None
    assert (same.status_code, same.json["status"]) == (202, "parked")


def test_what_was_decided_wins_over_what_was_merely_noted(door: Door, services: Services) -> None:
    key, body, other = str(uuid.uuid4()), transfer_body(), transfer_body()
    door.post("/v1/transfers", body, key)
    door.decide()
    forget_everything(services)
    assert door.post("/v1/transfers", other, key).status_code == 202  # Noted; nobody knew.

    response = door.post("/v1/transfers", body, key)

    assert response.status_code == 200
    assert response.json is not None
    assert response.json["data"] == body


def test_the_same_key_of_another_client_is_another_instruction(door: Door) -> None:
    key, body = str(uuid.uuid4()), transfer_body()
    stranger = door.new_client()

    mine, theirs = door.post("/v1/transfers", body, key), stranger.post("/v1/transfers", body, key)

    assert mine.headers["Location"] != theirs.headers["Location"]
    assert "Idempotent-Replayed" not in theirs.headers


def test_a_4xx_never_spends_a_key(door: Door) -> None:
    key = str(uuid.uuid4())
    without_scope = door.new_key(["wallets:read"])

    problem(door.post("/v1/transfers", transfer_body(amount=0), key), 422, "invalid_body")
    problem(door.post("/v1/transfers", b"{", key), 400, "malformed_json")
    problem(without_scope.post("/v1/transfers", transfer_body(), key), 403, "forbidden")
    text = {"Content-Type": "text/plain"}
    problem(
        door.post("/v1/transfers", transfer_body(), key, headers=text),
        415,
        "unsupported_media_type",
    )

    response = door.post("/v1/transfers", transfer_body(), key)
    assert response.status_code == 202
    assert "Idempotent-Replayed" not in response.headers


def test_50_identical_posts_at_once_are_one_instruction(door: Door) -> None:
    key, raw = str(uuid.uuid4()), json.dumps(transfer_body()).encode()

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: door.post("/v1/transfers", raw, key), range(50)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.data for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    published = door.published()
    assert len({each.id for each in published}) == 1
    assert len({each.submitted_at for each in published}) == 1


def test_the_outcome_that_is_replayed_is_the_one_in_the_books(door: Door) -> None:
    _, wallet_id = door.opened()
    response = door.deposit(wallet_id, 500)
    door.decide(tell=True)
    polled = door.get(response.headers["Location"]).json

    assert polled is not None
    assert polled == reads.instruction(door.parts.engine, door.client_id, polled["id"])
    assert polled["result"] == {
        "entries": [
            {
                "wallet_id": wallet_id,
                "seq": 1,
                "amount": 500,
                "balance": 500,
                "currency": "KES",
                "exponent": 2,
            }
        ]
    }

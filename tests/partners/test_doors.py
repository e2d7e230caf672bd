"""One domain of idempotency: a partner's key is one instruction, whichever door it comes to."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.api.server import Server
from tests.partners.house import RECEIPTS, Bank, PartnerHouse


@pytest.fixture
def server(house: PartnerHouse, tmp_path: Path) -> Iterator[Server]:
    server = Server(house.settings, tmp_path)
    yield server
    server.kill()


def post(server: Server, bank: Bank, message: dict[str, Any]) -> requests.Response:
    """The same instruction over HTTP."""
    return requests.post(
        f"{server.url}/v1/deposits",
        json.dumps(message["data"]),
        headers={
            "Authorization": f"Bearer {bank.api_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": message["idempotency_key"],
        },
        timeout=20,
    )


def test_what_came_over_http_is_the_same_instruction_over_the_queue(
    house: PartnerHouse, server: Server
) -> None:
    bank = house.partner()
    house.everything()
    message = bank.deposit(house.names[0], 5, "k")

    answer = post(server, bank, message)
    assert answer.status_code == 202
    bank.await_events(1, "instruction.succeeded")
    bank.send(message, bank.deposit(house.names[0], 6, "k"))

    same, other = bank.await_events(2, *RECEIPTS)
    assert same.data["id"] == answer.json()["id"]
    assert other.data["problem"]["code"] == "idempotency_key_reused"
    assert {each.data["id"] for each in bank.await_events(2, "instruction.succeeded")} == {
        answer.json()["id"]
    }
    assert house.decided().count(message["idempotency_key"]) == 1


def test_what_came_over_the_queue_is_the_same_instruction_over_http(
    house: PartnerHouse, server: Server
) -> None:
    bank = house.partner()
    house.inbox().ready()
    message = bank.deposit(house.names[0], 5, "k")
    bank.send(message)
    [receipt] = bank.await_events(1, *RECEIPTS)

    undecided = post(server, bank, message)
    other = post(server, bank, bank.deposit(house.names[0], 6, "k"))
    house.worker().ready()
    house.await_decided([message["idempotency_key"]])
    decided = post(server, bank, message)

    assert undecided.status_code == 202
    assert undecided.headers["Idempotent-Replayed"] == "true"
    assert undecided.json() == receipt.data
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    assert (decided.status_code, decided.json()["id"]) == (200, receipt.data["id"])
    assert house.decided().count(message["idempotency_key"]) == 1
    house.assert_books_whole()


def test_the_same_keys_at_both_doors_at_once_are_one_instruction_each(
    house: PartnerHouse, server: Server
) -> None:
    bank = house.partner()
    house.everything()
    messages = [bank.deposit(house.names[n % 8], 1) for n in range(100)]

    with ThreadPoolExecutor(5) as threads:
        answers = threads.map(lambda message: post(server, bank, message), messages)
        bank.flood(messages)
        ids = {answer.json()["id"] for answer in answers}

    keys = [message["idempotency_key"] for message in messages]
    house.await_decided(keys)
    receipts = bank.await_events(len(keys), *RECEIPTS)
    assert {each.data["id"] for each in receipts} == ids
    assert {each.type for each in receipts} == {"instruction.accepted"}
    assert sorted(house.decided()) == sorted(set(house.decided()))
    bank.await_events(len(keys), "instruction.succeeded", distinct=True)
    house.assert_books_whole()


def test_a_partner_that_never_reads_harms_nobody_and_finds_everything_in_the_feed(
    house: PartnerHouse, server: Server
) -> None:
    silent, other = house.partner(), house.partner()
    pattern = f"^out.{silent.name}$"
    house.services.rabbitmq.ctl(
        *("set_policy", "-p", house.vhost, "--apply-to", "queues"),
        *("short", pattern, '{"max-length": 20}'),
    )
    house.everything()
    messages = [silent.deposit(house.names[n % 8]) for n in range(300)]

    silent.flood(messages)
    other.send(other.deposit(house.names[0]))

    other.await_events(1, "instruction.succeeded")
    keys = {message["idempotency_key"] for message in messages}
    house.await_decided(keys)
    told: dict[str, set[str]] = {"instruction.accepted": set(), "instruction.succeeded": set()}
    cursor = None
    while any(found != keys for found in told.values()):
        page = requests.get(
            f"{server.url}/v1/events",
            {"limit": 200, **({"cursor": cursor} if cursor else {})},
            headers={"Authorization": f"Bearer {silent.api_key}"},
            timeout=20,
        ).json()
        for event in page["data"]:
            told[event["type"]].add(event["data"]["idempotency_key"])
        cursor = page["next_cursor"] or cursor
    assert len(silent.read()) <= 20

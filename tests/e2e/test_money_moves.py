"""Money moves, from a POST to an answer, through every real part."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import redis
import requests

from ops.stack.services import Services
from tests.bookkeeping import customer_id, transfer, wallet_id
from tests.e2e.conftest import Whole
from tests.support import wait_until


def transfer_body(whole: Whole, source: int, destination: int, amount: int = 1) -> dict[str, Any]:
    return {
        "source_wallet_id": wallet_id(whole.names[source]),
        "destination_wallet_id": wallet_id(whole.names[destination]),
        "amount": amount,
        "currency": "KES",
    }


def balance(whole: Whole, partition: int) -> int:
    wallet = wallet_id(whole.names[partition])
    answer = whole.session().get(f"{whole.url}/v1/wallets/{wallet}", timeout=10)
    assert answer.status_code == 200, answer.text
    found = answer.json()["balance"]
    assert isinstance(found, int)
    return found


def has_succeeded(whole: Whole, instruction_id: str) -> bool:
    return bool(whole.poll(instruction_id).json().get("status") == "succeeded")


def transfers_of(whole: Whole, key: str) -> list[Any]:
    return whole.rows("SELECT * FROM instructions WHERE idempotency_key = :key", key=key)


def test_a_transfer_goes_in_over_http_and_its_outcome_comes_back(whole: Whole):
    whole.worker().ready()

    answer = whole.post("transfers", "one", transfer_body(whole, 0, 1, 250), wait_s=10)

    assert answer.status_code == 200, answer.text
    assert answer.headers["Preference-Applied"] == "wait=10"
    outcome = answer.json()
    assert outcome["status"] == "succeeded"
    assert [entry["amount"] for entry in outcome["result"]["entries"]] == [-250, 250]
    assert (balance(whole, 0), balance(whole, 1)) == (999_750, 1_000_250)
    polled = whole.poll(outcome["id"])
    assert polled.json() == outcome
    redis.Redis.from_url(whole.settings.redis_url.get_secret_value()).flushall()
    assert whole.poll(outcome["id"]).json() == outcome


def test_customer_wallet_deposit_and_withdrawal_each_awaited(whole: Whole):
    whole.worker().ready()
    steps: list[tuple[str, dict[str, Any]]] = [
        (
            "customers",
            {
                "customer_id": customer_id("new"),
                "name": "Ama",
                "email": "ama@example.org",
                "country": "RW",
            },
        ),
        (
            "wallets",
            {
                "wallet_id": wallet_id("new"),
                "customer_id": customer_id("new"),
                "currency": "RWF",
            },
        ),
        ("deposits", {"wallet_id": wallet_id("new"), "amount": 500, "currency": "RWF"}),
        ("withdrawals", {"wallet_id": wallet_id("new"), "amount": 501, "currency": "RWF"}),
    ]

    answers = [whole.post(path, f"step-{path}", body, wait_s=10) for path, body in steps]

    assert [a.json()["status"] for a in answers] == ["succeeded"] * 3 + ["rejected"]
    rejection = answers[3].json()["rejection"]
    assert (rejection["code"], rejection["available"], rejection["required"]) == (
        "insufficient_funds",
        500,
        501,
    )
    wallet = whole.session().get(f"{whole.url}/v1/wallets/{wallet_id('new')}", timeout=10).json()
    assert (wallet["balance"], wallet["exponent"], wallet["seq"]) == (500, 0, 1)
    whole.assert_books_whole()


def test_fifty_identical_posts_at_once_are_one_transfer(whole: Whole):
    whole.worker().ready()
    body = transfer_body(whole, 2, 3, 7)

    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(lambda _: whole.post("transfers", "again", body, wait_s=10), range(50))
        )

    assert {answer.status_code for answer in answers} <= {200, 202}
    (instruction_id,) = {answer.json()["id"] for answer in answers}
    assert whole.poll(instruction_id, wait_s=10).json()["status"] == "succeeded"
    assert len(transfers_of(whole, "again")) == 1
    assert balance(whole, 2) == 999_993
    whole.assert_all_acknowledged()
    whole.assert_books_whole()


def test_one_key_with_two_bodies_at_once_over_two_partitions_has_one_outcome(whole: Whole):
    first, second = whole.worker("0-3").ready(), whole.worker("4-7").ready()
    assert first
    assert second
    bodies = [transfer_body(whole, 0, 2, 10), transfer_body(whole, 5, 2, 20)]

    for number in range(10):
        key = f"torn-{number}"
        with ThreadPoolExecutor(2) as pool:
            answers = list(
                pool.map(lambda body, key=key: whole.post("transfers", key, body), bodies)
            )
        accepted = [answer for answer in answers if answer.status_code in (200, 202)]
        assert accepted
        refused = [answer.json()["code"] for answer in answers if answer not in accepted]
        assert set(refused) <= {"idempotency_key_reused"}
        outcome = whole.poll(accepted[0].json()["id"], wait_s=10).json()
        assert outcome["status"] == "succeeded"
        assert len(transfers_of(whole, key)) == 1

    whole.assert_all_acknowledged()
    assert whole.parked() == []
    whole.assert_books_whole()


def test_a_reuse_that_only_the_ledger_can_see_leaves_the_first_outcome(whole: Whole):
    """The queue brings both bodies, to two partitions at once: no door saw the reuse."""
    pairs = [
        (
            transfer(f"torn-{n}", whole.names[0], whole.names[2], 10),
            transfer(f"torn-{n}", whole.names[5], whole.names[2], 20),
        )
        for n in range(50)
    ]
    whole.publish([instruction for pair in pairs for instruction in pair])

    whole.worker("0-3").ready()
    whole.worker("4-7").ready()

    whole.await_decided(f"torn-{n}" for n in range(50))
    whole.assert_all_acknowledged()
    assert whole.parked() == []
    moved = whole.rows(
        "SELECT count(*), count(DISTINCT idempotency_key) FROM instructions"
        " WHERE idempotency_key LIKE 'torn-%'"
    )
    assert [tuple(row) for row in moved] == [(50, 50)]
    whole.assert_books_whole()


def test_redis_killed_and_flushed_under_load_costs_nothing_but_speed(
    whole: Whole, services: Services
):
    whole.worker().ready()
    accepted: list[str] = []

    def post_some(thread: int) -> None:
        session = whole.session()
        for number in range(40):
            body = transfer_body(whole, thread, (thread + 1) % 8)
            answer = whole.post("transfers", f"r{thread}-{number}", body, session=session)
            assert answer.status_code in (200, 202), answer.text
            accepted.append(answer.json()["id"])

    def trouble() -> None:
        wait_until(lambda: len(accepted) > 30, 60)
        services.redis.kill()
        wait_until(lambda: len(accepted) > 120, 60)
        services.redis.start()
        url = whole.settings.redis_url.get_secret_value()
        wait_until(lambda: len(accepted) > 180, 60)
        redis.Redis.from_url(url).flushall()

    with ThreadPoolExecutor(7) as pool:
        work = [pool.submit(post_some, thread) for thread in range(6)]
        work.append(pool.submit(trouble))
        for each in work:
            each.result()

    for instruction_id in accepted:
        succeeded = partial(has_succeeded, whole, instruction_id)
        wait_until(succeeded, 30, what=f"the outcome of {instruction_id}")
    assert len(set(accepted)) == 240
    whole.assert_books_whole()


def test_what_was_accepted_before_the_broker_restarted_is_decided_in_order(
    whole: Whole, services: Services
):
    keys = [f"k{number}" for number in range(60)]
    for key in keys[:30]:
        assert whole.post("transfers", key, transfer_body(whole, 0, 1)).status_code == 202
    services.rabbitmq.restart()

    def accepted(key: str) -> bool:
        return whole.post("transfers", key, transfer_body(whole, 0, 1)).status_code == 202

    for key in keys[30:]:
        wait_until(partial(accepted, key), 30, what=f"{key} to be accepted")
    whole.worker().ready()

    whole.await_decided(keys)
    assert [key for key in whole.decided() if key in set(keys)] == keys
    whole.assert_books_whole()


def test_a_waiter_is_answered_while_redis_is_away(whole: Whole, services: Services):
    whole.worker().ready()
    services.redis.kill()
    try:
        answer = whole.post("transfers", "alone", transfer_body(whole, 0, 1), wait_s=10)
    finally:
        services.redis.start()

    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "succeeded"


def test_the_documents_are_served_without_a_key(whole: Whole):
    for path in ("/v1/openapi.json", "/docs", "/v1/health/live", "/v1/health/ready"):
        assert requests.get(f"{whole.url}{path}", timeout=10).status_code == 200

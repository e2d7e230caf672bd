"""What a caller meets when something behind the API is away: 503 in time, and no key spent."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.test import TestResponse

from ops.stack.services import Services
from tests.api.conftest import Door, Doors, problem, transfer_body
from tests.support import wait_until

IN_TIME_S = 3.0

HOOK = {"url": "https://hooks.example.com/"}


@contextmanager
def killed(service: Any) -> Iterator[None]:
    service.kill()
    try:
        yield
    finally:
        service.start()


@contextmanager
def stopped(service: Any) -> Iterator[None]:
    """RabbitMQ in order: 3.10, killed within seconds of a queue's birth, leaves it leaderless."""
    service.stop()
    try:
        yield
    finally:
        service.start()


@contextmanager
def paused(service: Any) -> Iterator[None]:
    service.pause()
    try:
        yield
    finally:
        service.resume()


@contextmanager
def out_of_memory(service: Any) -> Iterator[None]:
    service.ctl("set_vm_memory_high_watermark", "0")
    try:
        yield
    finally:
        service.ctl("set_vm_memory_high_watermark", "absolute", "1GB")


def unavailable(call: Callable[[], TestResponse]) -> bool:
    """Whether the answer is 503; in any case it has to come in time."""
    start = time.monotonic()
    response = call()
    assert time.monotonic() - start < IN_TIME_S
    if response.status_code < 400:
        return False
    problem(response, 503, "temporarily_unavailable")
    return True


@pytest.mark.parametrize("fault", [stopped, paused, out_of_memory])
def test_without_rabbitmq_a_post_is_503_in_time_and_then_succeeds_once(
    door: Door, services: Services, fault: Callable[[Any], Any]
) -> None:
    key, body = str(uuid.uuid4()), transfer_body()
    items = {"items": [{"idempotency_key": key, "type": "transfer", "data": body}]}
    with fault(services.rabbitmq):
        # Until the broker says that it is blocked, it still takes what comes.
        wait_until(lambda: unavailable(lambda: door.post("/v1/transfers", transfer_body())))
        assert unavailable(lambda: door.post("/v1/transfers", body, key))
        assert unavailable(lambda: door.post("/v1/batches", items))
        assert unavailable(lambda: door.get("/v1/health/ready"))
        assert door.get("/v1/health/live").status_code == 200

    wait_until(door.parts.publisher.ready, 60, what="the publisher is ready again")
    wait_until(lambda: door.post("/v1/transfers", body, key).status_code == 202)
    assert {each.id for each in door.published() if each.idempotency_key == key}
    assert door.get("/v1/health/ready").status_code == 200


def test_without_postgres_reads_are_503_in_time_and_posts_go_on_while_the_key_is_believed(
    open_door: Doors, services: Services
) -> None:
    door = open_door(api_key_cache_s=300.0)
    _, wallet_id = door.opened("KES", 100)
    key, body = str(uuid.uuid4()), transfer_body()
    door.post("/v1/transfers", transfer_body())  # The key is known from here on.
    unknown_key = door.new_key()
    with killed(services.postgres):
        for path in (
            f"/v1/wallets/{wallet_id}",
            f"/v1/wallets/{wallet_id}/entries",
            "/v1/customers?legacy_id=L-1",
            f"/v1/instructions/{uuid.uuid4()}",
            "/v1/callback-endpoints",
            "/v1/health/ready",
        ):
            assert unavailable(lambda path=path: door.get(path))  # type: ignore[misc]
        assert unavailable(lambda: door.post("/v1/callback-endpoints", HOOK))
        assert door.post("/v1/transfers", body, key).status_code == 202
        assert unavailable(lambda: door.post("/v1/transfers", body, key))  # Is it decided?
        assert unavailable(lambda: unknown_key.post("/v1/transfers", transfer_body()))
        assert door.get("/v1/health/live").status_code == 200

    wait_until(lambda: door.get(f"/v1/wallets/{wallet_id}").status_code == 200)
    assert door.post("/v1/transfers", body, key).status_code == 202
    assert unknown_key.get("/v1/health/ready").status_code == 200


def test_a_connection_that_postgres_closed_while_idle_costs_nobody_anything(
    door: Door, services: Services
) -> None:
    _, wallet_id = door.opened()
    assert door.get(f"/v1/wallets/{wallet_id}").status_code == 200
    services.postgres.restart()

    assert door.get(f"/v1/wallets/{wallet_id}").status_code == 200


def test_such_a_connection_costs_no_change_either(open_door: Doors, services: Services) -> None:
    door = open_door(api_key_cache_s=300.0)  # So that no look-up finds it out before.
    assert door.post("/v1/callback-endpoints", HOOK).status_code == 201
    services.postgres.restart()

    assert door.post("/v1/callback-endpoints", HOOK).status_code == 201
    shown = door.get("/v1/callback-endpoints").json
    assert shown is not None
    assert len(shown["data"]) == 2


def test_a_key_that_is_no_longer_believed_is_503_while_postgres_is_away(
    open_door: Doors, services: Services
) -> None:
    door = open_door(api_key_cache_s=0.2)
    door.post("/v1/transfers", transfer_body())
    with killed(services.postgres):
        wait_until(lambda: unavailable(lambda: door.post("/v1/transfers", transfer_body())))

    wait_until(lambda: door.post("/v1/transfers", transfer_body()).status_code == 202)


def test_everything_away_is_still_an_answer(door: Door, services: Services) -> None:
    with killed(services.redis), killed(services.postgres), stopped(services.rabbitmq):
        assert unavailable(lambda: door.post("/v1/transfers", transfer_body()))
        assert unavailable(lambda: door.get(f"/v1/instructions/{uuid.uuid4()}"))
        assert unavailable(lambda: door.get("/v1/health/ready"))
        assert door.get("/v1/health/live").status_code == 200
        assert door.get("/v1/openapi.json").status_code == 200
    wait_until(lambda: door.get("/v1/health/ready").status_code == 200, 60)

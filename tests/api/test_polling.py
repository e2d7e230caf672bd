"""Where an instruction stands, and `Prefer: wait`."""

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from domain.instructions import encode
from ops.stack.services import Services
from storage import parked
from tests.api.conftest import Door, Doors, forget_everything, problem, transfer_body
from tests.support import wait_until


def timed(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


def later(call: Callable[[], object], delay_s: float = 0.3) -> threading.Timer:
    timer = threading.Timer(delay_s, call)
    timer.start()
    return timer


@pytest.mark.parametrize("tell", [True, False])
def test_an_instruction_is_polled_by_id_and_by_key_until_decided(door: Door, *, tell: bool) -> None:
    key = str(uuid.uuid4())
    posted = door.post("/v1/transfers", transfer_body(), key)
    addresses = posted.headers["Location"], f"/v1/instructions?idempotency_key={key}"

    for address in addresses:
        assert door.get(address).json == posted.json

    door.decide(tell=tell)
    for address in addresses:
        polled = door.get(address)
        assert polled.status_code == 200
        assert polled.json is not None
        assert polled.json["status"] == "rejected"
        assert polled.json["result"] is None
        assert polled.json["rejection"]["code"] == "source_not_found"


def test_an_outcome_is_found_in_postgres_when_redis_has_forgotten(
    door: Door, services: Services
) -> None:
    posted = door.post("/v1/transfers", transfer_body())
    door.decide(tell=True)
    before = door.get(posted.headers["Location"]).json
    forget_everything(services)

    assert door.get(posted.headers["Location"]).json == before


def test_what_nobody_has_heard_of_is_not_found(door: Door, services: Services) -> None:
    problem(door.get(f"/v1/instructions/{uuid.uuid4()}"), 404, "not_found")
    problem(door.get("/v1/instructions?idempotency_key=never-used"), 404, "not_found")
    posted = door.post("/v1/transfers", transfer_body())
    forget_everything(services)
    problem(door.get(posted.headers["Location"]), 404, "not_found")


def test_a_parked_instruction_is_shown_as_parked(door: Door) -> None:
    posted = door.post("/v1/transfers", transfer_body())
    [instruction] = door.published()

    parked.park(
        door.parts.engine, 0, encode(instruction), {}, "test", instruction.id, datetime.now(UTC)
    )

    polled = door.get(posted.headers["Location"], headers={"Prefer": "wait=10"})

    assert posted.json is not None
    assert polled.json == posted.json | {"status": "parked"}


@pytest.mark.parametrize("tell", [True, False])
@pytest.mark.parametrize("asked", ["wait=10", 'wait="10"', "respond-async, Wait = 10; x=y"])
def test_a_post_that_waits_is_answered_with_the_outcome(
    door: Door, asked: str, *, tell: bool
) -> None:
    timer = later(lambda: door.decide(tell=tell))

    response = door.post("/v1/transfers", transfer_body(), headers={"Prefer": asked})

    timer.join()
    assert response.status_code == 200
    assert response.json is not None
    assert response.json["status"] == "rejected"
    assert response.headers["Preference-Applied"] == "wait=10"
    assert response.headers["Location"].endswith(response.json["id"])


@pytest.mark.parametrize("tell", [True, False])
def test_a_poll_that_waits_is_answered_with_the_outcome(door: Door, *, tell: bool) -> None:
    posted = door.post("/v1/transfers", transfer_body())
    timer = later(lambda: door.decide(tell=tell))

    response = door.get(posted.headers["Location"], headers={"Prefer": "wait=10"})

    timer.join()
    assert response.json is not None
    assert response.json["status"] == "rejected"
    assert response.headers["Preference-Applied"] == "wait=10"


def test_waiting_ends_when_the_time_is_over(door: Door) -> None:
    start = time.monotonic()
    posted = door.post("/v1/transfers", transfer_body(), headers={"Prefer": "wait=1"})
    polled = door.get(posted.headers["Location"], headers={"Prefer": "wait=1"})

    assert 2 <= time.monotonic() - start < 4
    assert posted.status_code == 202
    assert polled.json == posted.json
    assert posted.headers["Preference-Applied"] == "wait=1"


@pytest.mark.parametrize(
    "asked", ["", "wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "await=3", "wait=0", "=", ",;"]
)
def test_a_malformed_preference_is_not_applied(door: Door, asked: str) -> None:
    response = door.post("/v1/transfers", transfer_body(), headers={"Prefer": asked})

    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers


@pytest.mark.parametrize("asked", ["wait=31", "wait=999999999"])
def test_nobody_waits_for_longer_than_30_s(door: Door, asked: str) -> None:
    posted = door.post("/v1/transfers", transfer_body())
    door.decide(tell=True)

    response = door.get(posted.headers["Location"], headers={"Prefer": asked})

    assert response.headers["Preference-Applied"] == "wait=30"


def test_who_waits_for_what_nobody_knows_is_told_at_once(door: Door) -> None:
    prefer = {"Prefer": "wait=10"}
    door.post("/v1/transfers", transfer_body(), headers={"Prefer": "wait=1"})  # Redis is heard.

    assert timed(lambda: door.get(f"/v1/instructions/{uuid.uuid4()}", headers=prefer)) < 1


def test_a_busy_server_does_not_wait_and_says_so(open_door: Doors) -> None:
    door = open_door(api_waiters=2, api_threads=8)
    prefer = {"Prefer": "wait=4"}

    def post() -> tuple[float, bool]:
        start = time.monotonic()
        response = door.post("/v1/transfers", transfer_body(), headers=prefer)
        assert response.status_code == 202
        return time.monotonic() - start, "Preference-Applied" in response.headers

    with ThreadPoolExecutor(6) as pool:
        waited = [future.result() for future in [pool.submit(post) for _ in range(6)]]

    assert sum(applied for _, applied in waited) == 2
    for seconds, applied in waited:
        assert (seconds >= 4) == applied
    # The places are free again.
    response = door.post("/v1/transfers", transfer_body(), headers={"Prefer": "wait=1"})
    assert "Preference-Applied" in response.headers


def test_with_no_places_nobody_waits(open_door: Doors) -> None:
    door = open_door(api_waiters=0)

    response = door.post("/v1/transfers", transfer_body(), headers={"Prefer": "wait=5"})

    assert "Preference-Applied" not in response.headers


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_without_redis_everything_is_only_slower(
    door: Door, services: Services, fault: str
) -> None:
    decided_before = door.post("/v1/transfers", transfer_body())
    door.decide(tell=True)
    key, body = str(uuid.uuid4()), transfer_body()
    getattr(services.redis, fault)()
    try:
        polled = door.get(decided_before.headers["Location"])
        assert polled.json is not None
        assert polled.json["status"] == "rejected"

        posted = door.post("/v1/transfers", body, key)
        assert posted.status_code == 202
        repeated = door.post("/v1/transfers", body, key)
        assert repeated.status_code == 202
        ready = door.get("/v1/health/ready")
        assert ready.status_code == 200
        assert ready.json is not None
        assert ready.json["checks"]["redis"] == "away"

        timer = later(door.decide, 0.5)
        outcome = door.get(posted.headers["Location"], headers={"Prefer": "wait=20"})
        timer.join()
        assert outcome.json is not None
        assert outcome.json["status"] == "rejected"
    finally:
        services.redis.resume() if fault == "pause" else services.redis.start()
    wait_until(door.parts.outcomes.reachable)
    assert door.post("/v1/transfers", body, key).status_code in (200, 202)


def test_redis_killed_while_somebody_waits_costs_a_moment(door: Door, services: Services) -> None:
    posted = door.post("/v1/transfers", transfer_body())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(door.get, posted.headers["Location"], headers={"Prefer": "wait=20"})
        wait_until(lambda: door.parts.waiting.listening)
        services.redis.kill()
        try:
            door.decide()
            response = waiting.result(timeout=10)
        finally:
            services.redis.start()

    assert response.json is not None
    assert response.json["status"] == "rejected"

"""How long a key is believed, and that nothing of it is kept or logged."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from api.keys import REMEMBERED_MAX
from tests.api.conftest import Door, Doors, problem, revoke
from tests.support import wait_until


def test_a_revoked_key_is_refused_once_the_cache_time_is_over(open_door: Doors) -> None:
    door = open_door(api_key_cache_s=1.0)
    assert door.get("/v1/customers?legacy_id=x").status_code == 200
    revoke(door)

    wait_until(
        lambda: door.get("/v1/customers?legacy_id=x").status_code == 401, timeout_s=1.5, what="401"
    )


def test_a_key_that_expires_is_refused_at_once_whatever_is_cached(open_door: Doors) -> None:
    door = open_door(api_key_cache_s=300.0)
    soon = door.new_key(expires_at=datetime.now(UTC) + timedelta(seconds=1.5))
    assert soon.get("/v1/customers?legacy_id=x").status_code == 200

    wait_until(
        lambda: soon.get("/v1/customers?legacy_id=x").status_code == 401, timeout_s=3, what="401"
    )


def test_a_key_made_now_works_at_once_if_it_was_not_tried_before(door: Door) -> None:
    assert door.new_key().get("/v1/customers?legacy_id=x").status_code == 200


def test_wrong_keys_do_not_fill_the_memory(door: Door) -> None:
    keys = door.app.extensions["tekana.keys"]
    for number in range(REMEMBERED_MAX + 50):
        keys._unknown[number.to_bytes(32, "big")] = 0.0
    wrong = door.with_key("tekana_test_" + "y" * 43)

    problem(wrong.get("/v1/customers?legacy_id=x"), 401, "unauthorized")

    assert len(keys._unknown) <= REMEMBERED_MAX
    assert all(isinstance(kept, bytes) for kept in (*keys._unknown, *keys._known))


def test_no_key_is_ever_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = door.with_key("tekana_test_" + "z" * 43)

    door.get("/v1/customers?legacy_id=x")
    wrong.get("/v1/customers?legacy_id=x")
    door.post("/v1/transfers", b"{")

    text = "\n".join(str(vars(record)) for record in caplog.records)
    assert "request_id" in text
    assert door.key not in text
    assert wrong.key not in text

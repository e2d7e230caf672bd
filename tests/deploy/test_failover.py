"""One of two API processes is killed, or asked to end, while clients pay through HAProxy."""

import json
import os
import re
import signal
import time
from typing import Any

from sqlalchemy import text

from tests.deploy.crowd import Crowd
from tests.deploy.deployed import HAPROXY_CFG, Deployed
from tests.support import wait_until

_CLIENTS = 8


def seconds_until_left_out() -> float:
    """How long HAProxy may take to leave a dead process out: two checks that fail."""
    found = re.search(r"check inter (\d+)ms fall (\d+)", HAPROXY_CFG.read_text())
    assert found is not None
    return int(found[1]) * int(found[2]) / 1000


def test_an_api_process_killed_under_load_loses_nothing_and_is_missed_for_a_second_at_most(
    deployed: Deployed,
) -> None:
    assert seconds_until_left_out() == 1.0
    with Crowd(deployed, _CLIENTS) as crowd:
        wait_until(lambda: len(crowd.keys) > 200, 30, what="both processes to be at work")
        assert {"api-1", "api-2"} <= served_by(deployed).keys()
        killed = deployed.process("api-1").pid()
        assert killed is not None
        killed_s = time.monotonic()
        os.killpg(killed, signal.SIGKILL)
        wait_until(lambda: time.monotonic() > killed_s + 3, 10, what="some time without it")
        before = served_by(deployed)["api-1"]
        deployed.start("api-1")
        wait_until(lambda: served_by(deployed)["api-1"] > before + 50, 60, what="it to serve again")

    outside = [
        trouble
        for trouble in crowd.troubles
        if trouble.ended_s < killed_s or trouble.began_s > killed_s + seconds_until_left_out()
    ]
    assert outside == [], f"all that failed: {crowd.troubles}, killed at {killed_s}"
    assert_each_decided_once(deployed, crowd.keys)
    print(
        f"{len(crowd.keys)} payments, {len(crowd.troubles)} failed requests, "
        f"{repeated(deployed)} repeated by HAProxy, "
        f"the slowest took {max(client.slowest_s for client in crowd.clients):.3f} s"
    )


def test_no_client_notices_that_both_api_processes_are_replaced_in_turn(
    deployed: Deployed,
) -> None:
    with Crowd(deployed, _CLIENTS) as crowd:
        for name in ("api-1", "api-2"):
            wait_until(lambda: len(crowd.keys) > 50, 30, what="payments")
            deployed.process(name).stop(signal.SIGTERM, timeout_s=40)
            before = served_by(deployed)[name]
            deployed.start(name)
            wait_until(lambda: served_by(deployed)[name] > before + 20, 60, what=f"{name} again")  # noqa: B023

    assert crowd.troubles == []
    assert_each_decided_once(deployed, crowd.keys)


def assert_each_decided_once(deployed: Deployed, keys: list[str]) -> None:
    """Each key has one outcome, in which the money moved, and the books are whole."""
    engine = deployed.as_role("tekana_api")
    statement = text(
        "SELECT idempotency_key, rejection IS NULL FROM instructions"
        " WHERE idempotency_key = ANY(:keys)"
    )

    def decided() -> dict[str, bool]:
        with engine.connect() as connection:
            rows = connection.execute(statement, {"keys": keys}).all()
        assert len({key for key, _ in rows}) == len(rows)
        return dict(tuple(row) for row in rows)

    wait_until(lambda: decided().keys() == set(keys), 30, 0.5, what=f"{len(keys)} outcomes")
    assert all(decided().values())
    engine.dispose()
    assert json.loads(deployed.operate("verify", "--json"))["sound"] is True


def served_by(deployed: Deployed) -> dict[str, int]:
    """How many requests each API process has answered, by HAProxy's log."""
    found = {"api-1": 0, "api-2": 0}
    for line in requests_logged(deployed):
        if line["server"] in found and line["method"] == "POST" and line["status"] < 500:
            found[line["server"]] += 1
    return found


def repeated(deployed: Deployed) -> int:
    """How many requests HAProxy sent more than once."""
    return sum(line["retries"].lstrip("+") != "0" for line in requests_logged(deployed))


def requests_logged(deployed: Deployed) -> list[dict[str, Any]]:
    lines = deployed.process("haproxy").log_path.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]

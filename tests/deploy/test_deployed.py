"""The deployed system does its job: each process as its own user, role and password.

That none of them can do more is for the tests of rights.
"""

import json
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import amqp
import pytest
import requests

from config import broker
from domain.fields import timestamp_text
from domain.identity import partition_of
from domain.instructions import DATA, encode, instruct
from ops.stack.ports import HOST
from tests.deploy.crowd import open_wallet, posted
from tests.deploy.deployed import Deployed
from tests.support import wait_until

_REASON = ("--reason", "test")


@pytest.fixture(scope="module", autouse=True)
def nothing_is_refused_to_a_process_of_ours(deployed: Deployed) -> Iterator[None]:
    """Some refusals are survived, and would only be found in the log."""
    yield
    refused = re.compile(r"NOPERM|NOAUTH|42501|permission denied|ACCESS_REFUSED|AccessRefused")
    logs = {name: deployed.process(name).log_path for name in deployed.started()}
    found = {
        name: lines
        for name, log in logs.items()
        if (lines := [line for line in log.read_text().splitlines() if refused.search(line)])
    }
    assert found == {}


def test_money_moves_through_the_front_door(deployed: Deployed) -> None:
    session = deployed.session()
    payer, payee = open_wallet(deployed, 1000), open_wallet(deployed, 1)

    paid = posted(
        deployed,
        session,
        "transfers",
        {
            "source_wallet_id": payer,
            "destination_wallet_id": payee,
            "amount": 250,
            "currency": "KES",
        },
    )

    assert paid["result"]["entries"][0]["balance"] == 750
    entries = session.get(f"{deployed.url}/v1/wallets/{payee}/entries", timeout=5).json()["data"]
    assert [(entry["amount"], entry["balance"]) for entry in entries] == [(250, 251), (1, 1)]
    posted(deployed, session, "withdrawals", {"wallet_id": payee, "amount": 51, "currency": "KES"})
    assert session.get(f"{deployed.url}/v1/wallets/{payee}", timeout=5).json()["balance"] == 200


def test_an_operator_provisions_pauses_and_checks(deployed: Deployed) -> None:
    wallet = open_wallet(deployed, 5)
    deployed.operate("client", "add", "other", "--scope", "wallets:read", *_REASON)
    deployed.operate("client", "grant", "other", wallet, *_REASON)
    key = deployed.operate("client", "key", "add", "other", *_REASON).split()[-1]
    other = deployed.session()
    other.headers["Authorization"] = f"Bearer {key}"

    assert other.get(f"{deployed.url}/v1/wallets/{wallet}", timeout=5).json()["balance"] == 5

    keys = json.loads(deployed.operate("client", "key", "list", "other", "--json"))
    deployed.operate("client", "key", "revoke", str(keys[0]["id"]), *_REASON)
    deployed.operate("partition", "pause", "3", *_REASON)
    states = json.loads(deployed.operate("partition", "list", "--json"))
    deployed.operate("partition", "resume", "3", *_REASON)
    assert len(states) == 8
    assert len(json.loads(deployed.operate("client", "list", "--json"))) == 2
    assert json.loads(deployed.operate("verify", "--json"))["sound"] is True


def test_a_message_that_is_no_instruction_is_parked_once_and_discarded(deployed: Deployed) -> None:
    body = f"not an instruction {uuid.uuid4()}"
    with _as_operator(deployed) as connection:
        channel = connection.channel()
        channel.confirm_select()
        for _ in range(2):
            message = amqp.Message(body, delivery_mode=2)
            channel.basic_publish_confirm(message, broker.LEDGER_EXCHANGE, "0")

    parked = wait_until(lambda: json.loads(deployed.operate("parked", "list", "--json")), 20)

    assert [one["reason"].split(":")[0] for one in parked] == ["undecodable"]
    shown = deployed.operate("parked", "show", str(parked[0]["id"]))
    assert body in shown
    assert "is discarded" in deployed.operate("parked", "reject", str(parked[0]["id"]), *_REASON)


def test_what_was_parked_can_be_decided_after_all_or_rejected(deployed: Deployed) -> None:
    """An instruction in the wrong partition is parked; so the right one can be told."""
    wallet = open_wallet(deployed, 10)
    wrong = (partition_of(wallet, 8) + 1) % 8
    bodies = [_deposit(deployed, wallet, amount) for amount in (7, 8)]
    with _as_operator(deployed) as connection:
        channel = connection.channel()
        channel.confirm_select()
        for body in bodies:
            message = amqp.Message(body, delivery_mode=2)
            channel.basic_publish_confirm(message, broker.LEDGER_EXCHANGE, str(wrong))

    def parked() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(deployed.operate("parked", "list", "--json"))
        return found

    first, second = wait_until(lambda: (waiting := parked())[1:] and waiting, 20)
    deployed.operate("parked", "retry", str(first["id"]), *_REASON)
    rejected = deployed.operate("parked", "reject", str(second["id"]), *_REASON)

    assert "operator_rejected" in rejected
    session = deployed.session()
    wallets = f"{deployed.url}/v1/wallets/{wallet}"
    wait_until(lambda: session.get(wallets, timeout=5).json()["balance"] == 17, 20)
    assert parked() == []


def test_the_standby_takes_over_what_a_killed_worker_leaves(deployed: Deployed) -> None:
    worker = deployed.process("ledger-low")
    worker.kill()
    try:
        # Ids are spread over all partitions: some of these are those of the worker that is gone.
        wallets = [open_wallet(deployed, 3) for _ in range(8)]
    finally:
        deployed.start("ledger-low")
        deployed.await_ready("ledger-low")

    assert {partition_of(wallet, 8) for wallet in wallets} & set(range(4))


def test_an_outcome_is_called_back_as_far_as_there_is_a_receiver(deployed: Deployed) -> None:
    session = deployed.session()
    endpoints = f"{deployed.url}/v1/callback-endpoints"
    body = {"url": "https://receiver.invalid/", "events": ["entry.posted"]}
    made = session.post(endpoints, json=body, timeout=5)
    assert made.status_code == 201, made.text

    open_wallet(deployed, 5)

    def attempts() -> list[dict[str, Any]]:
        listed = session.get(f"{endpoints}/{made.json()['id']}/deliveries", timeout=5).json()
        return [attempt for one in listed["data"] for attempt in one["attempts"]]

    first = wait_until(attempts, 20, what="an attempt to deliver")[0]
    assert first["error"] == "name not found"
    shown = session.get(f"{endpoints}/{made.json()['id']}", timeout=5).json()
    assert shown["failing_since"] is not None
    session.delete(f"{endpoints}/{made.json()['id']}", timeout=5)


def test_flower_shows_the_workers_to_whoever_has_the_password(deployed: Deployed) -> None:
    deployed.start("flower")
    flower = f"http://{HOST}:{deployed.ports['flower']}"
    wait_until(lambda: _status(f"{flower}/healthcheck") == 200, 60, what="Flower")

    assert _status(f"{flower}/") == 401
    operator = ("operator", deployed.secrets["FLOWER_PAGE_PASSWORD"])

    def online() -> set[str]:
        listed = requests.get(f"{flower}/workers?json=1", auth=operator, timeout=5).json()["data"]
        return {one["hostname"].split("-")[1] for one in listed if one["status"]}

    wait_until(lambda: online() >= {"0", "4"}, 60, what="the workers in Flower")
    deployed.process("flower").stop(signal.SIGTERM, timeout_s=10)


@pytest.mark.parametrize("name", ["api-1", "ledger-low", "callbacks-1", "beat"])
def test_the_health_checks_of_our_containers_hold_here_and_fail_elsewhere(
    deployed: Deployed, name: str, tmp_path: Path
) -> None:
    check = deployed.services[name]["healthcheck"]["test"]
    port = str(deployed.ports.get(name, ""))
    here = [part.replace("8080", port).replace("$$", "$") for part in check[1:]]
    here = [part.replace("/tmp/ready", str(deployed.ready_file(name))) for part in here]
    here[0] = sys.executable if here[0] == "python" else here[0]

    assert subprocess.run(here, check=False).returncode == 0
    elsewhere = [part.replace(port, "1") if port else f"{part}x" for part in here[1:]]
    failing = subprocess.run([here[0], *elsewhere], stderr=subprocess.DEVNULL, check=False)
    assert failing.returncode != 0


def _as_operator(deployed: Deployed) -> amqp.Connection:
    return deployed.rabbitmq.connect("tekana_operator", deployed.secrets["OPERATOR_PASSWORD"])


def _deposit(deployed: Deployed, wallet: str, amount: int) -> bytes:
    """A deposit of the shop, as the API would publish it."""
    [shop] = [
        client["id"]
        for client in json.loads(deployed.operate("client", "list", "--json"))
        if client["name"] == "shop"
    ]
    data = DATA["deposit"].model_validate(
        {"wallet_id": wallet, "amount": amount, "currency": "KES"}
    )
    return encode(
        instruct(shop, str(uuid.uuid4()), data, "deposit", timestamp_text(datetime.now(UTC)))
    )


def _status(url: str) -> int:
    try:
        return requests.get(url, timeout=3).status_code
    except requests.RequestException:
        return 0

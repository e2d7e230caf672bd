"""From an instruction to a signed callback, with every process real."""

from pathlib import Path

import pytest
from standardwebhooks import Webhook

from domain.signatures import secret_text
from ops.stack.services import Services
from tests.bookkeeping import CLIENT
from tests.support import wait_until
from tests.workers.callback_house import CallbackHouse
from tests.workers.receiver import receiving


@pytest.fixture
def house(services: Services, tmp_path: Path):
    made = CallbackHouse(services, tmp_path)
    yield made
    made.close()


def test_every_outcome_arrives_once_and_signed(house: CallbackHouse) -> None:
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.callbacks().ready()
        house.worker().ready()

        house.publish(house.transfers(200))
        wait_until(lambda: len(receiver.received) >= 200, 20, what="200 callbacks")
        wait_until(lambda: house.statuses(endpoint) == {"delivered": 200})

    verifier = Webhook(secret_text(endpoint.secret))
    for one in receiver.received:
        verified = verifier.verify(one.body.decode(), one.headers)
        assert verified["id"] == one.id
        assert verified["type"] == "instruction.succeeded"
        assert one.headers["user-agent"].startswith("Tekana/")
        assert one.headers["content-type"] == "application/json"
    keys = {one.event["data"]["idempotency_key"] for one in receiver.received}
    assert keys == {f"k{number}" for number in range(200)}
    assert CLIENT == 1
    assert receiver.connections <= 8
    assert len(receiver.received) == 200

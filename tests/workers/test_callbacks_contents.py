"""What is in a callback, for whom it is, and who can tell that it is ours."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from domain.signatures import secret_text
from ops.stack.services import Services
from storage import endpoints
from storage.secrets import make_secret
from tests.bookkeeping import CLIENT, OTHER_CLIENT, open_customer
from tests.workers.callback_house import CallbackHouse
from tests.workers.receiver import receiving


@pytest.fixture
def house(services: Services, tmp_path: Path) -> Iterator[CallbackHouse]:
    made = CallbackHouse(services, tmp_path)
    yield made
    made.close()


def test_after_a_rotation_both_secrets_sign_for_a_day_and_then_one(house: CallbackHouse) -> None:
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        fresh = make_secret()
        with house.engine.begin() as connection:
            sealed = house.keys.encrypt(fresh, endpoint.id)
            endpoints.rotate_secret(connection, CLIENT, endpoint.id, sealed)
        with house.deliverer() as deliverer:
            house.tell(1)
            deliverer.deliver(endpoint.id)
            house.pass_time(endpoint, 25)
            house.tell(1)
            deliverer.deliver(endpoint.id)

    within, after = receiver.received
    for secret in (endpoint.secret, fresh):
        assert Webhook(secret_text(secret)).verify(within.body.decode(), within.headers)
    assert Webhook(secret_text(fresh)).verify(after.body.decode(), after.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_text(endpoint.secret)).verify(after.body.decode(), after.headers)


def test_a_secret_that_cannot_be_read_costs_no_attempt(
    house: CallbackHouse, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.tell(1)
        house.run("UPDATE callback_endpoints SET secret_key_id = 'lost'")
        with house.deliverer() as deliverer:
            deliverer.deliver(endpoint.id)

    assert receiver.received == []
    [row] = house.deliveries(endpoint)
    assert (row.status, row.attempts) == ("pending", [])
    assert house.row(endpoint).probe_at is not None
    assert "an endpoint's secret is unreadable" in caplog.text


def test_the_events_of_one_client_never_go_to_another(house: CallbackHouse) -> None:
    house.run("INSERT INTO clients (name, scopes) VALUES ('other', '{}')")
    with receiving() as mine, receiving() as others:
        endpoint = house.endpoint(mine.url)
        other = house.endpoint(others.url, client_id=OTHER_CLIENT)
        house.tell(10)
        with house.deliverer() as deliverer:
            deliverer.deliver(endpoint.id)
            deliverer.deliver(other.id)

    assert len(mine.received) == 30
    assert others.received == []


def test_an_endpoint_gets_the_types_it_asked_for(house: CallbackHouse) -> None:
    with receiving() as receiver:
        house.endpoint(receiver.url, ["instruction.rejected"])
        endpoint = house.endpoint(receiver.url, ["entry.posted"])
        house.tell(10)
        with house.deliverer() as deliverer:
            deliverer.deliver(endpoint.id)

    assert {one.event["type"] for one in receiver.received} == {"entry.posted"}
    assert len(receiver.received) == 20


def test_no_callback_holds_a_name_a_phone_or_an_email(house: CallbackHouse) -> None:
    phone, email = "+254711222333", "ama@example.com"
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url)
        opened = open_customer("personal", "Ama Mensah", phone=phone, email=email)
        house.decide([opened])
        house.hand_on()
        with house.deliverer() as deliverer:
            deliverer.deliver(endpoint.id)

    [received] = receiver.received
    assert received.event["type"] == "instruction.succeeded"
    for secret in ("Ama", "Mensah", "711222333", "example.com"):
        assert secret not in received.body.decode()
        assert secret not in json.dumps(received.headers)


def test_an_event_that_is_not_kept_any_more_is_given_up(house: CallbackHouse) -> None:
    with receiving() as receiver:
        endpoint = house.endpoint(receiver.url, ["instruction.succeeded"])
        house.tell(2)
        house.run("DELETE FROM events")
        with house.deliverer() as deliverer:
            deliverer.deliver(endpoint.id)

    assert receiver.received == []
    assert house.statuses(endpoint) == {"exhausted": 2}

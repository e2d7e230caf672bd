"""A partner of the deployed system: provisioned, let in by TLS, and held to its rights."""

import json
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pytest
from pika.exceptions import AMQPError

from tests.deploy.deployed import Deployed
from tests.partners.client import publish
from tests.support import wait_until

WHY = ("--reason", "test")


@pytest.fixture(scope="module")
def acme(deployed: Deployed) -> dict[str, str]:
    """A partner with its secrets."""
    scopes = ("--scope", "deposits:write")
    issued: dict[str, str] = json.loads(
        deployed.provision("partner", "add", "acme", *scopes, "--json", *WHY)
    )
    return issued


def test_a_partner_comes_in_by_tls_and_publishes(deployed: Deployed, acme: dict[str, str]) -> None:
    with channel_of(deployed, acme["broker_url"]) as channel:
        publish(channel, acme["exchange"], body=_a_deposit())
        types = [_next_event(channel, acme["queue"])["type"] for _ in range(2)]

        # To a wallet that nobody has opened: a receipt and an outcome all the same.
        assert types == ["instruction.accepted", "instruction.rejected"]
        with pytest.raises(AMQPError, match="ACCESS_REFUSED"):
            publish(channel, "tekana.ledger", "0")


def test_without_tls_and_without_a_password_nobody_comes_in(
    deployed: Deployed, acme: dict[str, str]
) -> None:
    plain = acme["broker_url"].replace("amqps://", "amqp://")
    with pytest.raises(AMQPError):
        pika.BlockingConnection(pika.URLParameters(f"{plain}?connection_attempts=1"))
    address = acme["broker_url"].rpartition("@")[2]
    with (
        pytest.raises(AMQPError),
        channel_of(deployed, f"amqps://partner.acme:guess@{address}"),
    ):
        pass


def test_partners_are_changed_by_whoever_may_and_shown_to_every_operator(
    deployed: Deployed, acme: dict[str, str]
) -> None:
    deployed.operate("partner", "suspend", acme["name"], *WHY)
    deployed.operate("partner", "resume", acme["name"], *WHY)
    deployed.operate("partner", "rate", acme["name"], "500", *WHY)
    (shown,) = json.loads(deployed.operate("partner", "list", "--json"))
    assert (shown["name"], shown["rate_per_s"]) == ("acme", 500)

    with pytest.raises(AssertionError, match="TEKANA_BROKER_ADMIN_URL is not set"):
        deployed.operate("partner", "rotate", acme["name"], "--password", *WHY)
    rotated = json.loads(
        deployed.provision("partner", "rotate", acme["name"], "--password", "--json", *WHY)
    )
    with channel_of(deployed, rotated["broker_url"]) as channel:
        publish(channel, acme["exchange"])


def test_a_partner_is_removed(deployed: Deployed, acme: dict[str, str]) -> None:
    deployed.provision("partner", "remove", acme["name"], "--force", *WHY)

    with pytest.raises(AMQPError), channel_of(deployed, acme["broker_url"]):
        pass
    (shown,) = json.loads(deployed.operate("partner", "list", "--json"))
    assert shown["removed_at"] is not None


def _a_deposit() -> bytes:
    data = {"wallet_id": str(uuid.uuid4()), "amount": 1, "currency": "KES"}
    key = str(uuid.uuid4())
    message = {"version": 1, "idempotency_key": key, "type": "deposit", "data": data}
    return json.dumps(message).encode()


def _next_event(channel: Any, queue: str) -> dict[str, Any]:
    _, _, body = wait_until(lambda: (got := channel.basic_get(queue, auto_ack=True))[0] and got, 30)
    event: dict[str, Any] = json.loads(body)
    return event


@contextmanager
def channel_of(deployed: Deployed, url: str) -> Iterator[Any]:
    """A channel with confirms, on a connection that trusts the deployment's certificate."""
    parameters = pika.URLParameters(url)
    context = ssl.create_default_context(cafile=str(deployed.authority))
    parameters.ssl_options = pika.SSLOptions(context, parameters.host)
    parameters.connection_attempts = 1
    connection = pika.BlockingConnection(parameters)
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel
    finally:
        if connection.is_open:
            connection.close()

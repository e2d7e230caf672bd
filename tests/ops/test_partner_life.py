"""Partners that exist: new secrets, a pause, an end."""

import json
from typing import Any

import pytest
from pika.exceptions import AMQPError
from sqlalchemy import Engine

from config import broker
from ops.broker_admin import BrokerAdmin
from ops.stack.services import Services
from storage.clients import authenticate, key_digest
from storage.partners import active
from tests.ops.books import actions
from tests.ops.conftest import Operator
from tests.partners.client import channel_of, connect, publish
from tests.support import wait_until

WHY = ("--reason", "contract 12")


def test_a_new_password_ends_the_old_one_and_leaves_connections(
    tekana: Operator, name: str, added: dict[str, str]
) -> None:
    with channel_of(added["broker_url"]) as channel:
        done = tekana("partner", "rotate", name, "--password", "--json", *WHY)

        issued = json.loads(done.stdout)
        assert issued["api_key"] is None
        connect(issued["broker_url"]).close()
        with pytest.raises(AMQPError):
            connect(added["broker_url"])
        publish(channel, added["exchange"])


def test_a_password_that_leaked_opens_nothing_and_keeps_nothing_open(
    tekana: Operator, name: str, added: dict[str, str]
) -> None:
    with channel_of(added["broker_url"]) as channel:
        done = tekana("partner", "rotate", name, "--password", "--disconnect", *WHY)

        assert done.exit_code == 0, done.output
        with pytest.raises(AMQPError):
            publish_until_closed(channel, added["exchange"])


def publish_until_closed(channel: Any, exchange: str) -> None:
    """Raises AMQPError when the connection ends."""
    wait_until(lambda: publish(channel, exchange), what="the connection's end")


def test_another_api_key_leaves_the_others(
    engine: Engine, tekana: Operator, name: str, added: dict[str, str]
) -> None:
    done = tekana("partner", "rotate", name, "--api-key", "--json", *WHY)

    issued = json.loads(done.stdout)
    assert issued["broker_url"] is None
    for key in (added["api_key"], issued["api_key"]):
        assert authenticate(engine, key_digest(key)) is not None
    shown = json.loads(tekana("partner", "show", name, "--json").stdout)
    assert len(shown["keys"]) == 2
    connect(added["broker_url"]).close()


@pytest.mark.parametrize("arguments", [(), ("--disconnect",), ("--api-key", "--disconnect")])
def test_what_is_to_be_rotated_must_be_said(
    tekana: Operator, name: str, arguments: tuple[str, ...]
) -> None:
    assert tekana("partner", "rotate", name, *arguments, *WHY).exit_code == 2


def test_a_suspended_partner_is_marked_with_the_reason(
    engine: Engine, tekana: Operator, name: str, added: dict[str, str]
) -> None:
    assert tekana("partner", "suspend", name, "--reason", "fraud alert").exit_code == 0
    again = tekana("partner", "suspend", name, "--reason", "twice")

    assert again.exit_code == 1
    assert "suspended already" in again.stderr
    assert [each.suspended_reason for each in active(engine)] == ["fraud alert"]
    assert "fraud alert" in tekana("partner", "list").stdout
    # It goes on being connected: a refusal tells it more than a closed door.
    connect(added["broker_url"]).close()

    assert tekana("partner", "resume", name, *WHY).exit_code == 0
    assert [each.suspended_reason for each in active(engine)] == [None]
    assert "is not suspended" in tekana("partner", "resume", name, *WHY).stderr


def test_a_rate_can_be_changed(
    engine: Engine, tekana: Operator, name: str, added: dict[str, str]
) -> None:
    assert tekana("partner", "rate", name, 25, *WHY).exit_code == 0

    assert [each.rate_per_s for each in active(engine)] == [25]
    assert tekana("partner", "rate", name, 0, *WHY).exit_code == 2
    assert actions(engine)[-1][1] == "partner.rate"


@pytest.mark.usefixtures("admin")
@pytest.mark.parametrize(
    "command",
    [
        ("rotate", "nobody", "--password"),
        ("rotate", "nobody", "--api-key"),
        ("rate", "nobody", "5"),
        ("suspend", "nobody"),
        ("resume", "nobody"),
        ("remove", "nobody"),
    ],
)
def test_nobody_is_no_partner(tekana: Operator, command: tuple[str, ...]) -> None:
    done = tekana("partner", *command, *WHY)

    assert done.exit_code == 1
    assert "o partner 'nobody'" in done.stderr or "of a partner 'nobody'" in done.stderr
    assert tekana("partner", "show", "nobody").exit_code == 1


def test_a_partner_that_is_removed_leaves_nothing_at_the_broker(
    engine: Engine, tekana: Operator, admin: BrokerAdmin, name: str, added: dict[str, str]
) -> None:
    with channel_of(added["broker_url"]) as channel:
        done = tekana("partner", "remove", name, *WHY)

        assert done.exit_code == 0, done.output
        with pytest.raises(AMQPError):
            publish_until_closed(channel, added["exchange"])
    assert nothing_left(admin, name)
    assert active(engine) == []
    assert actions(engine)[-1][1] == "partner.remove"
    assert "removed" in tekana("partner", "list").stdout
    # The client is the ledger's, and its key goes on.
    assert authenticate(engine, key_digest(added["api_key"])) is not None
    assert tekana("partner", "remove", name, *WHY).exit_code == 0
    for command in (("suspend", name), ("rotate", name, "--api-key")):
        assert "any more" in tekana("partner", *command, *WHY).stderr


def test_a_partner_that_was_removed_can_come_back(
    engine: Engine, tekana: Operator, name: str, added: dict[str, str]
) -> None:
    tekana("partner", "suspend", name, *WHY)
    tekana("partner", "remove", name, *WHY)

    done = tekana("partner", "add", name, "--json", *WHY)

    issued = json.loads(done.stdout)
    with channel_of(issued["broker_url"]) as channel:
        publish(channel, issued["exchange"])
    assert [each.suspended_reason for each in active(engine)] == [None]


def test_what_was_confirmed_to_a_partner_is_not_thrown_away_unasked(
    engine: Engine, tekana: Operator, admin: BrokerAdmin, name: str, added: dict[str, str]
) -> None:
    with channel_of(added["broker_url"]) as channel:
        for _ in range(3):
            publish(channel, added["exchange"])

        refused = tekana("partner", "remove", name, *WHY)

        assert refused.exit_code == 1
        assert f"3 messages wait in the inbox of '{name}'. Nothing was changed." in refused.stderr
        publish(channel, added["exchange"])
    assert len(active(engine)) == 1

    forced = tekana("partner", "remove", name, "--force", *WHY)

    assert "4 messages were thrown away" in forced.stdout
    assert nothing_left(admin, name)


def test_a_partner_is_shown_with_what_waits(
    services: Services, tekana: Operator, name: str, added: dict[str, str]
) -> None:
    with channel_of(added["broker_url"]) as channel:
        publish(channel, added["exchange"])
    with channel_of(services.broker_url) as ours:
        publish(ours, broker.OUTBOX_EXCHANGE, name)
        publish(ours, broker.OUTBOX_EXCHANGE, name)

    (listed,) = json.loads(tekana("partner", "list", "--json").stdout)
    shown = json.loads(tekana("partner", "show", name, "--json").stdout)

    assert (listed["name"], listed["inbox"], listed["outbox"]) == (name, 1, 2)
    assert shown == listed | {"grants": [], "keys": shown["keys"]}
    assert name in tekana("partner", "list").stdout
    assert "inbox_consumers" in tekana("partner", "show", name).stdout


def test_without_the_broker_partners_are_listed_and_none_is_made(
    tekana: Operator, name: str, added: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEKANA_BROKER_URL", "amqp://guest:hunter2@127.0.0.1:9/tekana")
    monkeypatch.setenv("TEKANA_BROKER_ADMIN_URL", "http://guest:hunter2@127.0.0.1:9")

    listed = tekana("partner", "list")
    refused = [
        tekana("partner", "add", name, *WHY),
        tekana("partner", "rotate", name, "--password", *WHY),
        tekana("partner", "remove", name, *WHY),
    ]

    assert "does not answer" in listed.stderr
    assert "?" in listed.stdout
    for done in refused:
        assert done.exit_code == 1
        assert "does not answer" in done.stderr
    assert not any("hunter2" in done.output for done in [listed, *refused])


def nothing_left(admin: BrokerAdmin, name: str) -> bool:
    """Whether the broker knows neither user nor exchange nor queue of the partner."""
    things = [("exchanges", f"in.{name}"), ("queues", f"in.{name}"), ("queues", f"out.{name}")]
    found = [admin._ask("GET", kind, "tekana", thing) for kind, thing in things]
    return admin.has_password(broker.partner_user(name)) is None and found == [None, None, None]

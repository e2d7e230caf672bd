import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Engine

from config import broker
from ops.broker_admin import BrokerAdmin
from ops.partners import USER_LIMITS, Issued, user_rights
from ops.stack.services import Services
from storage.clients import authenticate, key_digest
from storage.partners import DEFAULT_RATE_PER_S, Partner, active
from tests.bookkeeping import wallet_id
from tests.ops.books import actions, books_of_alice_and_bob
from tests.ops.conftest import Operator
from tests.partners.client import channel_of, connect, publish
from tests.support import wait_until

WHY = ("--reason", "contract 12")
SCOPES = ("--scope", "deposits:write", "--scope", "wallets:read")


def test_a_partner_gets_an_address_and_a_key_that_work(
    engine: Engine, services: Services, name: str, added: dict[str, str]
) -> None:
    assert added.keys() == {"name", "exchange", "queue", "broker_url", "api_key"}
    with channel_of(added["broker_url"]) as channel:
        publish(channel, added["exchange"], "any key")
        with channel_of(services.broker_url) as ours:
            publish(ours, broker.OUTBOX_EXCHANGE, name, b"news")
        assert wait_until(lambda: channel.basic_get(added["queue"])[2]) == b"news"
    client = authenticate(engine, key_digest(added["api_key"]))
    assert client is not None
    assert (client.name, sorted(client.scopes)) == (name, ["deposits:write", "wallets:read"])
    assert active(engine) == [Partner(client.id, name, client.scopes, DEFAULT_RATE_PER_S, None)]
    told = [(action, subject, reason) for _, action, subject, reason in actions(engine)]
    assert told == [
        (action, name, "contract 12")
        for action in ("client.add", "partner.add", "client.key.add", "partner.password")
    ]


def test_its_secrets_alone_go_to_standard_output(tekana: Operator, name: str) -> None:
    done = tekana("partner", "add", name, *SCOPES, "--test", *WHY)

    assert done.exit_code == 0, done.output
    url, key = done.stdout.splitlines()
    assert re.fullmatch(rf"broker_url amqp://partner\.{name}:[\w-]{{43}}@127.0.0.1:\d+/tekana", url)
    assert re.fullmatch(r"api_key tekana_test_[\w-]{43}", key)
    assert f"in.{name}" in done.stderr


def test_the_broker_has_what_the_code_says(
    admin: BrokerAdmin, name: str, added: dict[str, str]
) -> None:
    user = broker.partner_user(name)
    assert admin.rights(user) == {"tekana": user_rights(name)}
    assert user_rights("acme") == {
        "configure": "^$",
        "write": r"^in\.acme$",
        "read": r"^out\.acme$",
    }
    assert admin.limits(user) == USER_LIMITS
    assert admin._ask("GET", "users", user)["tags"] == []
    for queue in (broker.inbox_queue(name), broker.outbox_queue(name)):
        found = admin._ask("GET", "queues", "tekana", queue.name)
        assert (found["durable"], found["arguments"]) == (True, queue.arguments)
        bindings = admin._ask("GET", "queues", "tekana", queue.name, "bindings")
        assert [(each["source"], each["routing_key"]) for each in bindings if each["source"]] == [
            (queue.exchange, queue.routing_key)
        ]
    exchange = admin._ask("GET", "exchanges", "tekana", added["exchange"])
    assert (exchange["type"], exchange["durable"]) == ("fanout", True)


def test_a_repeat_changes_nothing_and_shows_no_secret(
    engine: Engine, tekana: Operator, name: str, added: dict[str, str]
) -> None:
    before = actions(engine)

    done = tekana("partner", "add", name, *SCOPES, "--json", *WHY)

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == added | {"broker_url": None, "api_key": None}
    told = tekana("partner", "add", name, *WHY).stderr
    assert f"rotate {name} --password" in told
    assert f"rotate {name} --api-key" in told
    assert actions(engine) == before
    connect(added["broker_url"]).close()


def test_cut_off_anywhere_it_is_completed_by_a_repeat(
    engine: Engine, tekana: Operator, admin: BrokerAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch, cut_at=None)
    whole = f"whole-{uuid.uuid4().hex[:8]}"
    tekana("partner", "add", whole, *SCOPES, *WHY)
    steps = calls()
    assert steps > 10
    admin.delete_user(broker.partner_user(whole))

    for cut_at in range(steps):
        name = f"cut-{cut_at}-{uuid.uuid4().hex[:8]}"
        with monkeypatch.context() as cut:
            counted(cut, cut_at=cut_at)
            first = tekana("partner", "add", name, *SCOPES, "--json", *WHY)
        assert first.exit_code == 130, first.output
        assert first.stdout == ""

        again = tekana("partner", "add", name, "--json", *WHY)

        assert again.exit_code == 0, again.output
        issued = json.loads(again.stdout)
        with channel_of(issued["broker_url"]) as channel:
            publish(channel, issued["exchange"])
            channel.basic_get(issued["queue"])
        assert authenticate(engine, key_digest(issued["api_key"])) is not None
        assert admin.limits(broker.partner_user(name)) == USER_LIMITS
        admin.delete_user(broker.partner_user(name))


def test_a_password_that_nobody_saw_is_not_taken_for_shown(
    engine: Engine, tekana: Operator, admin: BrokerAdmin, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_password = BrokerAdmin.set_password

    def set_and_end(*arguments: Any) -> None:
        set_password(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(BrokerAdmin, "set_password", set_and_end)
        assert tekana("partner", "add", name, *SCOPES, *WHY).exit_code == 130

    done = tekana("partner", "add", name, "--json", *WHY)

    issued = json.loads(done.stdout)
    assert authenticate(engine, key_digest(issued["api_key"])) is not None
    assert issued["broker_url"] is None
    assert f"./tekana partner rotate {name} --password" in done.stderr
    rotated = json.loads(tekana("partner", "rotate", name, "--password", "--json", *WHY).stdout)
    connect(rotated["broker_url"]).close()


def counted(monkeypatch: pytest.MonkeyPatch, cut_at: int | None) -> Callable[[], int]:
    """Count what is asked of the broker, and interrupt the command in place of one question."""
    number = 0
    ask = BrokerAdmin._ask

    def asked(self: BrokerAdmin, *arguments: Any, **more: Any) -> Any:
        nonlocal number
        number += 1
        if number - 1 == cut_at:
            raise KeyboardInterrupt
        return ask(self, *arguments, **more)

    monkeypatch.setattr(BrokerAdmin, "_ask", asked)
    return lambda: number


def test_a_client_becomes_a_partner_as_it_is(engine: Engine, tekana: Operator, name: str) -> None:
    tekana("client", "add", name, *SCOPES, "--floor", "KES=-5", *WHY)
    key = tekana("client", "key", "add", name, *WHY).stdout

    done = tekana("partner", "add", name, "--floor", "KES=-5", "--rate", 7, "--json", *WHY)

    assert done.exit_code == 0, done.output
    issued = json.loads(done.stdout)
    assert issued["api_key"] is None
    assert authenticate(engine, key_digest(key.strip())) is not None
    connect(issued["broker_url"]).close()
    assert [each.rate_per_s for each in active(engine)] == [7]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--scope", "deposits:write"), "exists with other scopes: deposits:write, wallets:read"),
        (("--floor", "KES=-5"), "exists with other floors"),
        (("--rate", "5"), "exists with a rate of 1000 per second"),
        (("--grant", wallet_id("nobody")), "There is no wallet"),
    ],
)
def test_what_exists_is_not_changed(
    engine: Engine,
    tekana: Operator,
    name: str,
    added: dict[str, str],
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    before = active(engine)

    done = tekana("partner", "add", name, *arguments, *WHY)

    assert done.exit_code == 1
    assert complaint in done.stderr
    assert active(engine) == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("acme", *WHY), "a new one needs scopes"),
        (("acme", *SCOPES), "Missing option '--reason'"),
        (("acme", "--scope", "everything", *WHY), "Unknown scope everything"),
        (("Acme & Sons", *SCOPES, *WHY), "lower-case letters, digits and dashes"),
        (("in.acme", *SCOPES, *WHY), "lower-case letters, digits and dashes"),
        (("acme", *SCOPES, "--floor", "KES=5", *WHY), "KES=5 is no floor"),
        (("acme", *SCOPES, "--floor", "KES=0", "--floor", "KES=-1", *WHY), "one --floor"),
        (("acme", *SCOPES, "--rate", "0", *WHY), "0 is not in the range"),
        (("acme", *SCOPES, "--grant", "wallet-7", *WHY), "not a valid UUID"),
    ],
)
def test_a_partner_that_cannot_be_is_refused_before_the_broker_hears_of_it(
    tekana: Operator, admin: BrokerAdmin, arguments: tuple[str, ...], complaint: str
) -> None:
    # Users are the whole broker's, and another test may have left one of this name.
    before = admin.has_password("partner.acme")

    done = tekana("partner", "add", *arguments)

    assert done.exit_code != 0
    assert complaint in done.stderr
    assert json.loads(tekana("partner", "list", "--json").stdout) == []
    assert admin.has_password("partner.acme") == before


def test_a_queue_that_is_there_with_other_properties_is_named_and_left(
    services: Services, tekana: Operator, name: str
) -> None:
    with channel_of(services.broker_url) as ours:
        ours.queue_declare(f"out.{name}", durable=True)

    done = tekana("partner", "add", name, *SCOPES, "--json", *WHY)

    assert done.exit_code == 1
    assert f"out.{name}" in done.stderr
    assert "inequivalent arg" in done.stderr
    assert done.stdout == ""


def test_a_user_with_other_rights_is_named_and_left(
    admin: BrokerAdmin, tekana: Operator, name: str
) -> None:
    wide = {"configure": ".*", "write": ".*", "read": ".*"}
    admin.make_user(broker.partner_user(name))
    admin.give_rights(broker.partner_user(name), wide)

    done = tekana("partner", "add", name, *SCOPES, "--json", *WHY)

    assert done.exit_code == 1
    assert f"partner.{name} has other rights" in done.stderr
    assert admin.rights(broker.partner_user(name)) == {"tekana": wide}
    assert not admin.has_password(broker.partner_user(name))


def test_a_grant_is_made_once(engine: Engine, tekana: Operator, name: str) -> None:
    books_of_alice_and_bob(engine)
    grant = ("--grant", wallet_id("alice"))

    for _ in range(2):
        assert tekana("partner", "add", name, *SCOPES, *grant, *WHY).exit_code == 0

    assert [action for _, action, _, _ in actions(engine)].count("client.grant") == 1
    shown = json.loads(tekana("partner", "show", name, "--json").stdout)
    assert shown["grants"] == [wallet_id("alice")]


def test_a_user_who_may_not_administer_is_told_apart(
    services: Services,
    tekana: Operator,
    name: str,
    added: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = services.rabbitmq.management_url.rpartition("@")[2]
    partners_own = added["broker_url"].split("//")[1].split("@")[0]
    for user in ("nobody:hunter2", partners_own):
        monkeypatch.setenv("TEKANA_BROKER_ADMIN_URL", f"http://{user}@{address}")

        done = tekana("partner", "add", name, *WHY)

        assert done.exit_code == 1
        assert "refuses us (401)" in done.stderr
        assert user.split(":")[1] not in done.output


def test_without_an_address_to_administer_the_broker_that_is_said(
    tekana: Operator, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEKANA_BROKER_ADMIN_URL")

    done = tekana("partner", "add", name, *SCOPES, *WHY)

    assert done.exit_code == 1
    assert "TEKANA_BROKER_ADMIN_URL is not set" in done.stderr
    assert json.loads(tekana("client", "list", "--json").stdout) == []


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("variable", "value"),
    [("TEKANA_BROKER_ADMIN_URL", "127.0.0.1:15672"), ("TEKANA_PARTNER_BROKER_URL", "mq.example")],
)
def test_an_address_that_is_none_is_named(
    tekana: Operator, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    done: Result = tekana("partner", "list")

    assert done.exit_code == 1
    assert f"{variable} is not such a URL" in done.stderr


def test_a_partner_is_told_the_address_that_it_reaches(
    tekana: Operator, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEKANA_PARTNER_BROKER_URL", "amqps://mq.example.com:5671/tekana")

    issued = json.loads(tekana("partner", "add", name, *SCOPES, "--json", *WHY).stdout)

    assert issued["broker_url"].startswith(f"amqps://partner.{name}:")
    assert issued["broker_url"].endswith("@mq.example.com:5671/tekana")


def test_secrets_are_in_no_repr() -> None:
    assert "hunter2" not in repr(Issued(broker_url="amqp://u:hunter2@h", api_key="hunter2"))

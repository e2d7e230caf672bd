import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from config.secret_keys import make_secret_key
from config.settings import DEVELOPMENT_MARK
from domain.fields import timestamp_text
from storage import endpoints
from storage.secrets import SecretKeys, SecretUnreadable
from tests.deliveries import FAILED, TIMED_OUT, add_delivery
from tests.ops.books import actions, add_a_client
from tests.ops.conftest import Operator

WHY = ("--who", "ada", "--reason", "ticket 7")
URL = "https://hooks.example.com/"
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)

OLD_KEY, NEW_KEY = (make_secret_key(f"{DEVELOPMENT_MARK}-{name}") for name in ("old", "new"))
OLD, NEW = SecretKeys.from_setting(OLD_KEY), SecretKeys.from_setting(NEW_KEY)


def _add(engine: Engine, client_id: int, secret: bytes = b"s" * 32) -> str:
    endpoint_id = str(uuid.uuid4())
    sealed = OLD.encrypt(secret, endpoint_id)
    with engine.begin() as connection:
        endpoints.create(connection, client_id, endpoint_id, URL, ["instruction.succeeded"], sealed)
    return endpoint_id


def _secrets(engine: Engine, endpoint_id: str, keys: SecretKeys) -> list[bytes]:
    found = text("SELECT * FROM callback_endpoints WHERE id = CAST(:id AS uuid)")
    with engine.connect() as connection:
        row = connection.execute(found, {"id": endpoint_id}).one()
    return endpoints.signing_secrets(row, keys, datetime.now(UTC))


def _statuses(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT event_id, status FROM deliveries"))
        return {row.event_id: row.status for row in rows}


@pytest.mark.usefixtures("settings")
def test_there_are_no_endpoints_at_first(tekana: Operator) -> None:
    assert tekana("callbacks", "list").stdout == "There are no endpoints.\n"
    assert json.loads(tekana("callbacks", "list", "--json").stdout) == []


def test_endpoints_are_listed_with_how_it_goes(engine: Engine, tekana: Operator) -> None:
    acme, other = add_a_client(engine), add_a_client(engine, "other")
    mine, failing, gone = _add(engine, acme), _add(engine, acme), _add(engine, other)
    add_delivery(engine, mine, NOW)
    add_delivery(engine, failing, NOW, "pending", (FAILED,))
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE callback_endpoints SET failing_since = now() WHERE id = :id"),
            {"id": failing},
        )
        endpoints.change(connection, other, gone, enabled=False)

    shown = json.loads(tekana("callbacks", "list", "--json").stdout)
    table = tekana("callbacks", "list").stdout

    assert [(each["client"], each["id"], each["pending"]) for each in shown] == [
        ("acme", mine, 0),
        ("acme", failing, 1),
        ("other", gone, 0),
    ]
    assert [each["enabled"] for each in shown] == [True, True, False]
    assert not any("secret" in name for each in shown for name in each)
    assert "failing" in table
    assert "disabled: by its client" in table
    own = json.loads(tekana("callbacks", "list", "--client", "other", "--json").stdout)
    assert [each["id"] for each in own] == [gone]
    unknown = tekana("callbacks", "list", "--client", "nobody")
    assert unknown.exit_code == 1
    assert "There is no client 'nobody'." in unknown.stderr


def test_deliveries_are_shown_with_their_last_attempt(engine: Engine, tekana: Operator) -> None:
    endpoint_id = _add(engine, add_a_client(engine))
    waiting = add_delivery(engine, endpoint_id, NOW, "pending", (FAILED, TIMED_OUT))
    newer = add_delivery(engine, endpoint_id, NOW + timedelta(seconds=1))

    shown = json.loads(tekana("callbacks", "deliveries", endpoint_id, "--json").stdout)
    table = tekana("callbacks", "deliveries", endpoint_id).stdout
    pending = tekana("callbacks", "deliveries", endpoint_id, "--status", "pending", "--json").stdout

    assert [each["id"] for each in shown] == [newer, waiting]
    assert shown[1]["attempts"] == [FAILED, TIMED_OUT]
    assert "timeout" in table
    assert "204" in table
    assert [each["id"] for each in json.loads(pending)] == [waiting]
    assert "no deliveries" in tekana("callbacks", "deliveries", _add(engine, 1)).stdout


def test_one_event_is_sent_again(engine: Engine, tekana: Operator) -> None:
    endpoint_id = _add(engine, add_a_client(engine))
    event_id = add_delivery(engine, endpoint_id, NOW, "exhausted", (FAILED,) * 10)
    other_id = add_delivery(engine, endpoint_id, NOW)

    done = tekana("callbacks", "redeliver", endpoint_id, "--event", event_id, *WHY)

    assert done.exit_code == 0, done.output
    assert done.stdout == "1 delivery is pending again.\n"
    assert _statuses(engine) == {event_id: "pending", other_id: "delivered"}
    assert actions(engine)[-1] == ("ada", "callbacks.redeliver", endpoint_id, "ticket 7")


def test_all_events_since_a_time_are_sent_again(engine: Engine, tekana: Operator) -> None:
    endpoint_id = _add(engine, add_a_client(engine))
    before, after = (
        add_delivery(engine, endpoint_id, NOW + timedelta(hours=hours)) for hours in range(2)
    )
    since = timestamp_text(NOW + timedelta(minutes=1))

    done = tekana("callbacks", "redeliver", endpoint_id, "--since", since, *WHY)

    assert done.exit_code == 0, done.output
    assert _statuses(engine) == {before: "delivered", after: "pending"}
    with engine.connect() as connection:
        details = connection.scalar(
            text("SELECT details FROM operator_actions ORDER BY id DESC LIMIT 1")
        )
    assert details == {"since": since}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Say --event or --since."),
        (("--event", str(uuid.uuid4()), "--since", "2026-11-23T10:00:00Z"), "Say --event"),
        (("--since", "yesterday"), "is not like 2026-11-23T10:00:00Z"),
        (("--since", "2026-11-23T10:00:00"), "is not like"),
        (("--event", "x"), "not a valid UUID"),
        (("--event", str(uuid.uuid4())), "not among the deliveries"),
    ],
)
def test_what_cannot_be_sent_again_is_refused(
    engine: Engine, tekana: Operator, arguments: tuple[str, ...], complaint: str
) -> None:
    endpoint_id = _add(engine, add_a_client(engine))
    event_id = add_delivery(engine, endpoint_id, NOW)

    done = tekana("callbacks", "redeliver", endpoint_id, *arguments, *WHY)

    assert done.exit_code != 0
    assert complaint in done.stderr
    assert _statuses(engine) == {event_id: "delivered"}
    assert len(actions(engine)) == 1


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    "command",
    [("deliveries",), ("redeliver", "--since", "2026-11-23T10:00:00Z", *WHY)],
)
def test_an_unknown_endpoint_is_refused(tekana: Operator, command: tuple[str, ...]) -> None:
    verb, *options = command

    unknown = tekana("callbacks", verb, uuid.uuid4(), *options)
    garbage = tekana("callbacks", verb, "x", *options)

    assert unknown.exit_code == 1
    assert "There is no endpoint" in unknown.stderr
    assert garbage.exit_code == 2


def test_every_secret_is_encrypted_with_the_new_key(
    engine: Engine, tekana: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_id = add_a_client(engine)
    found = [_add(engine, client_id, bytes([number]) * 32) for number in range(3)]
    monkeypatch.setattr(endpoints, "_ROTATED_AT_ONCE", 2)
    monkeypatch.setenv("TEKANA_SECRET_KEYS", f"{NEW_KEY},{OLD_KEY}")

    done = tekana("callbacks", "rotate-key", *WHY)
    again = tekana("callbacks", "rotate-key", *WHY)

    assert done.exit_code == 0, done.output
    assert "3 endpoints were changed." in done.stdout
    assert f"the key {NEW.current_id} now" in done.stdout
    assert "0 endpoints were changed." in again.stdout
    for number, endpoint_id in enumerate(found):
        assert _secrets(engine, endpoint_id, NEW) == [bytes([number]) * 32]
        with pytest.raises(SecretUnreadable):
            _secrets(engine, endpoint_id, OLD)
    # A line for each transaction that changed something.
    assert actions(engine)[-2:] == [("ada", "callbacks.rotate-key", NEW.current_id, "ticket 7")] * 2
    for private in (OLD_KEY, NEW_KEY):
        assert private.partition(":")[2] not in done.output + again.output


def test_without_the_old_key_the_endpoint_is_named_and_nothing_changed(
    engine: Engine, tekana: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id = _add(engine, add_a_client(engine))
    monkeypatch.setenv("TEKANA_SECRET_KEYS", NEW_KEY)

    done = tekana("callbacks", "rotate-key", *WHY)

    assert done.exit_code == 1
    assert f"endpoint {endpoint_id} needs the key {OLD.current_id}" in done.stderr
    assert _secrets(engine, endpoint_id, OLD) == [b"s" * 32]
    assert len(actions(engine)) == 1


@pytest.mark.usefixtures("settings")
def test_without_any_key_the_operator_is_told(
    tekana: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEKANA_SECRET_KEYS", raising=False)

    done = tekana("callbacks", "rotate-key", *WHY)

    assert done.exit_code == 1
    assert "Set TEKANA_SECRET_KEYS." in done.stderr

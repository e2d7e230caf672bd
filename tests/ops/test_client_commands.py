import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from ops.commands.clients import DEVELOPMENT_CLIENT, ensure_development_key
from ops.options import login_name
from storage.clients import SCOPES, authenticate, key_digest
from tests.bookkeeping import wallet_id
from tests.ops.books import actions, add_a_client, books_of_alice_and_bob
from tests.ops.conftest import Operator

WHY = ("--reason", "contract 12")


def test_a_client_is_made_with_its_scopes_and_floor(engine: Engine, tekana: Operator) -> None:
    done = tekana(
        *("client", "add", "acme", "--scope", "deposits:write", "--scope", "wallets:read"),
        *("--floor", "KES=-100000", "--floor", "RWF=0", "--who", "ada", *WHY),
    )

    assert done.exit_code == 0, done.output
    (client,) = json.loads(tekana("client", "list", "--json").stdout)
    assert client["name"] == "acme"
    assert client["scopes"] == ["deposits:write", "wallets:read"]
    assert actions(engine) == [("ada", "client.add", "acme", "contract 12")]
    with engine.connect() as connection:
        floors = connection.execute(text("SELECT currency, floor FROM settlement_floors"))
        assert sorted(map(tuple, floors)) == [("KES", -100000), ("RWF", 0)]


def test_who_changes_something_is_the_login_name_unless_told(
    engine: Engine, tekana: Operator
) -> None:
    tekana("client", "add", "acme", "--all-scopes", *WHY)

    assert actions(engine)[0][0] == login_name()


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("acme", "--all-scopes"), "Missing option '--reason'"),
        (("acme", "--all-scopes", "--reason", " "), "must not be empty"),
        (("acme", *WHY), "--scope"),
        (("acme", "--all-scopes", "--scope", "wallets:read", *WHY), "--scope"),
        (("acme", "--scope", "everything", *WHY), "Unknown scope everything"),
        (("Acme & Sons", "--all-scopes", *WHY), "lower-case letters, digits and dashes"),
        (("acme", "--all-scopes", "--floor", "KES", *WHY), "is not like KES=-100000"),
        (("acme", "--all-scopes", "--floor", "KES=5", *WHY), "KES=5 is no floor"),
        (("acme", "--all-scopes", "--floor", "XYZ=-5", *WHY), "XYZ=-5 is no floor"),
        (
            ("acme", "--all-scopes", "--floor", "KES=0", "--floor", "KES=-1", *WHY),
            "one --floor for a currency",
        ),
    ],
)
def test_a_client_that_cannot_be_is_refused_with_a_reason(
    arguments: tuple[str, ...], complaint: str, tekana: Operator
) -> None:
    done = tekana("client", "add", *arguments)

    assert done.exit_code != 0
    assert complaint in done.stderr
    assert json.loads(tekana("client", "list", "--json").stdout) == []


@pytest.mark.usefixtures("settings")
def test_a_name_is_given_once(tekana: Operator) -> None:
    tekana("client", "add", "acme", "--all-scopes", *WHY)

    again = tekana("client", "add", "acme", "--all-scopes", *WHY)

    assert again.exit_code == 1
    assert "The name 'acme' is taken." in again.stderr


def test_a_key_is_printed_alone_and_opens_the_door(engine: Engine, tekana: Operator) -> None:
    tekana("client", "add", "acme", "--all-scopes", *WHY)

    done = tekana("client", "key", "add", "acme", "--scope", "wallets:read", *WHY)

    key = done.stdout.strip()
    assert re.fullmatch(r"tekana_live_[\w-]{43}", key)
    found = authenticate(engine, key_digest(key))
    assert found is not None
    assert found.name == "acme"
    assert found.scopes == {"wallets:read"}


def test_a_test_key_says_so_and_expires(engine: Engine, tekana: Operator) -> None:
    tekana("client", "add", "acme", "--all-scopes", *WHY)

    key = tekana("client", "key", "add", "acme", "--test", "--expires-in", "90d", *WHY).stdout

    assert key.startswith("tekana_test_")
    found = authenticate(engine, key_digest(key.strip()))
    assert found is not None
    assert found.expires_at is not None
    left = found.expires_at - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("length", ["90", "0d", "-1d", "soon", "99999999w", "1.5h", "٣d"])
def test_a_length_of_time_must_make_sense(length: str, tekana: Operator) -> None:
    tekana("client", "add", "acme", "--all-scopes", *WHY)

    done = tekana("client", "key", "add", "acme", "--expires-in", length, *WHY)

    assert done.exit_code == 2
    assert json.loads(tekana("client", "key", "list", "--json").stdout) == []


def test_a_revoked_key_opens_nothing_and_is_shown_as_revoked(
    engine: Engine, tekana: Operator
) -> None:
    tekana("client", "add", "acme", "--all-scopes", *WHY)
    key = tekana("client", "key", "add", "acme", *WHY).stdout.strip()
    (shown,) = json.loads(tekana("client", "key", "list", "acme", "--json").stdout)

    done = tekana("client", "key", "revoke", shown["id"], *WHY)

    assert done.exit_code == 0, done.output
    assert authenticate(engine, key_digest(key)) is None
    assert "revoked" in tekana("client", "key", "list").stdout
    assert key not in tekana("client", "key", "list").stdout


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("key_id", ["7", "0", "seven", "99999999999"])
def test_a_key_that_is_not_there_cannot_be_revoked(key_id: str, tekana: Operator) -> None:
    done = tekana("client", "key", "revoke", key_id, *WHY)

    assert done.exit_code != 0
    assert "Error" in done.stderr


@pytest.mark.usefixtures("settings")
def test_keys_of_an_unknown_client_are_neither_made_nor_listed(tekana: Operator) -> None:
    for arguments in (("add", "nobody", *WHY), ("list", "nobody")):
        done = tekana("client", "key", *arguments)

        assert done.exit_code == 1
        assert "There is no client 'nobody'." in done.stderr


def test_a_grant_lets_a_client_use_a_wallet_and_is_recorded(
    engine: Engine, tekana: Operator
) -> None:
    books_of_alice_and_bob(engine)
    other = add_a_client(engine, "other")

    done = tekana("client", "grant", "other", wallet_id("alice"), "--who", "ada", *WHY)

    assert done.exit_code == 0, done.output
    with engine.connect() as connection:
        granted = connection.execute(text("SELECT client_id, wallet_id FROM grants")).one()
    assert tuple(granted) == (other, wallet_id("alice"))
    assert actions(engine)[-1] == ("ada", "client.grant", "other", "contract 12")


def test_no_wallet_and_no_settlement_account_no_grant(engine: Engine, tekana: Operator) -> None:
    books_of_alice_and_bob(engine)
    with engine.connect() as connection:
        settlement = connection.scalar(text("SELECT id FROM wallets WHERE customer_id IS NULL"))

    for wallet in (wallet_id("nobody"), settlement):
        done = tekana("client", "grant", "acme", wallet, *WHY)
        assert done.exit_code == 1
        assert "There is no wallet" in done.stderr
    assert tekana("client", "grant", "acme", "wallet-7", *WHY).exit_code == 2


def test_a_client_is_listed_with_what_it_brought_in_and_took_out(
    engine: Engine, tekana: Operator
) -> None:
    books_of_alice_and_bob(engine)

    listed = tekana("client", "list").stdout

    assert "KES -10.00" in listed


def test_the_development_client_is_made_once_and_each_key_is_new(engine: Engine) -> None:
    with engine.begin() as connection:
        first = ensure_development_key(connection)
    with engine.begin() as connection:
        second = ensure_development_key(connection)

    assert first != second
    for key in (first, second):
        assert key.startswith("tekana_test_")
        client = authenticate(engine, key_digest(key))
        assert client is not None
        assert (client.name, client.scopes) == (DEVELOPMENT_CLIENT, SCOPES)


def test_what_a_name_would_do_to_a_terminal_is_only_shown(engine: Engine, tekana: Operator) -> None:
    done = tekana("client", "add", "acme", "--all-scopes", "--reason", "\x1b[2J gone")

    assert done.exit_code == 2
    assert actions(engine) == []


def test_without_postgres_a_command_says_so(
    engine: Engine, tekana: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEKANA_DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:9/none")

    done = tekana("client", "list")

    assert done.exit_code == 1
    assert "Postgres does not let us in." in done.stderr
    assert "What to do:" in done.stderr
    assert "hunter2" not in done.output


def test_a_database_that_was_never_migrated_is_told_apart(
    engine: Engine, tekana: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = engine.url.set(drivername="postgresql", database="postgres")
    monkeypatch.setenv("TEKANA_DATABASE_URL", url.render_as_string(hide_password=False))

    done = tekana("client", "list")

    assert done.exit_code == 1
    assert "./tekana migrate" in done.stderr


@pytest.mark.usefixtures("settings")
def test_a_misspelt_setting_is_named(tekana: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEKANA_PARTITONS", "8")

    done = tekana("client", "list")

    assert done.exit_code == 1
    assert "TEKANA_PARTITONS is no setting of ours" in done.stderr

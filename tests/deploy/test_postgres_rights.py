"""Each login role of the deployed Postgres may do what its process needs, and nothing else.

That it may do enough is shown by the processes themselves, which run under these roles in
every test of the deployed system.
"""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from storage.tables import metadata
from tests.deploy.deployed import Deployed

_ROLES = ("tekana_api", "tekana_ledger", "tekana_inbox", "tekana_callbacks", "tekana_operator")

_REFUSED = {
    "tekana_api": [
        "SELECT roll_days()",
        "SELECT * FROM partitions",
        "SELECT * FROM operator_actions",
        "SELECT * FROM settlement_floors",
        "INSERT INTO clients (name, scopes) VALUES ('mine', '{}')",
        "UPDATE api_keys SET revoked_at = NULL",
        "UPDATE wallets SET balance = balance",
        "SELECT * FROM wallets FOR UPDATE",
        "UPDATE callback_endpoints SET client_id = 1",
        "UPDATE callback_endpoints SET leased_until = now()",
        "INSERT INTO deliveries SELECT * FROM deliveries",
        "UPDATE deliveries SET event_id = endpoint_id",
        "UPDATE events SET pending = false",
        "INSERT INTO events (at, client_id, pending) VALUES (now(), 1, false)",
        "SELECT * FROM partners",
    ],
    "tekana_ledger": [
        "SELECT roll_days()",
        "SELECT * FROM api_keys",
        "SELECT * FROM clients",
        "SELECT * FROM openings",
        "SELECT headers FROM parked",
        "SELECT secret FROM callback_endpoints",
        "SELECT * FROM deliveries",
        "SELECT documents FROM events",
        "UPDATE events SET pending = false",
        "UPDATE callback_endpoints SET enabled = false",
        "INSERT INTO clients (name, scopes) VALUES ('mine', '{}')",
        "INSERT INTO grants SELECT client_id, id FROM wallets",
        "INSERT INTO partitions (id) VALUES (99)",
        "UPDATE instructions SET amount = 1",
        "UPDATE wallets SET floor = NULL",
        "UPDATE wallets SET status = 'open'",
        "UPDATE wallets SET client_id = 1",
        "UPDATE partitions SET paused_at = NULL",
        "UPDATE parked SET resolution = 'discarded', resolved_at = now()",
    ],
    "tekana_inbox": [
        "SELECT roll_days()",
        "SELECT * FROM api_keys",
        "SELECT * FROM customers",
        "SELECT balance FROM wallets",
        "SELECT * FROM parked",
        "SELECT documents FROM events",
        "SELECT secret FROM callback_endpoints",
        "UPDATE events SET pending = true",
        "UPDATE partners SET suspended_at = NULL, suspended_reason = NULL",
        "UPDATE clients SET scopes = '{}'",
        "INSERT INTO partners (client_id, rate_per_s) VALUES (1, 1)",
        "INSERT INTO grants SELECT client_id, id FROM wallets",
        "UPDATE wallets SET balance = balance",
        "UPDATE instructions SET amount = 1",
        "INSERT INTO instructions SELECT * FROM instructions",
    ],
    "tekana_callbacks": [
        "SELECT * FROM api_keys",
        "SELECT * FROM customers",
        "SELECT balance FROM wallets",
        "SELECT scopes FROM clients",
        "SELECT rate_per_s FROM partners",
        "SELECT * FROM parked",
        "INSERT INTO events (at, client_id, pending) VALUES (now(), 1, true)",
        "UPDATE events SET documents = '[]'",
        "DELETE FROM events",
        "DELETE FROM deliveries",
        "UPDATE deliveries SET event_type = 'instruction.rejected'",
        "UPDATE callback_endpoints SET url = 'https://elsewhere.example/'",
        "UPDATE callback_endpoints SET secret = ''",
        "INSERT INTO callback_endpoints DEFAULT VALUES",
        "UPDATE wallets SET balance = balance",
        "UPDATE instructions SET amount = 1",
    ],
    "tekana_operator": [
        "SELECT roll_days()",
        "SELECT sha256 FROM api_keys",
        "SELECT * FROM openings",
        "UPDATE api_keys SET scopes = '{}'",
        "UPDATE clients SET scopes = '{}'",
        "UPDATE partners SET client_id = 1",
        "DELETE FROM partners",
        "UPDATE operator_actions SET who = 'somebody else'",
        "UPDATE instructions SET amount = 1",
        "UPDATE wallets SET floor = NULL",
        "DELETE FROM parked",
        "UPDATE callback_endpoints SET url = 'https://elsewhere.example'",
        "INSERT INTO deliveries SELECT * FROM deliveries",
    ],
    # The owner of the tables is held by what the migrations put on them.
    "tekana_owner": [
        "UPDATE instructions SET amount = 1",
        "DELETE FROM instructions",
        "TRUNCATE instructions",
        "DELETE FROM operator_actions",
        "DELETE FROM wallets",
        "CREATE ROLE mine",
        "COPY clients TO PROGRAM 'cat'",
    ],
}

_NOBODY = [
    "CREATE TABLE mine ()",
    "CREATE SCHEMA mine",
    "TRUNCATE parked",
    "DELETE FROM events",
    "SELECT roll_days(CAST(now() AS date) + 365)",
    "SELECT * FROM events_default",
    "DROP TABLE parked",
    "ALTER TABLE wallets DISABLE TRIGGER ALL",
    "COPY wallets TO PROGRAM 'cat'",
    "SET SESSION AUTHORIZATION tekana_owner",
    "SET ROLE tekana_owner",
    "SELECT pg_read_file('/etc/passwd')",
    "CREATE TEMPORARY TABLE mine ()",
]


@pytest.mark.parametrize(
    ("role", "statement"),
    [(role, each) for role in _REFUSED for each in _REFUSED[role]]
    + [(role, each) for role in _ROLES for each in _NOBODY],
)
def test_it_is_refused(deployed: Deployed, role: str, statement: str) -> None:
    engine = deployed.as_role(role)

    with engine.connect() as connection:
        # What a default forbids, its role may allow itself; a right that is missing, it may not.
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.commit()
        with pytest.raises(DBAPIError) as refusal:
            connection.execute(text(statement))

    assert getattr(refusal.value.orig, "pgcode", None) == "42501"
    engine.dispose()


def test_callback_workers_roll_the_days_as_of_today_and_no_other(deployed: Deployed) -> None:
    with deployed.as_role("tekana_callbacks").begin() as connection:
        connection.execute(text("SELECT roll_days()"))


def test_no_role_may_remove_or_overwrite_a_row_of_any_table(deployed: Deployed) -> None:
    engine = deployed.as_role("tekana_owner")
    statement = text("SELECT has_table_privilege(:role, :table, :verb)")

    with engine.connect() as connection:
        allowed = [
            (role, table, verb)
            for role in _ROLES
            for table in [*metadata.tables, "alembic_version"]
            for verb in ("UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
            if connection.scalar(statement, {"role": role, "table": table, "verb": verb})
        ]

    assert allowed == []
    engine.dispose()


def test_the_api_writes_nothing_even_by_mistake(deployed: Deployed) -> None:
    engine = deployed.as_role("tekana_api")

    with engine.connect() as connection:
        assert connection.scalar(text("SHOW transaction_read_only")) == "on"
    engine.dispose()


def test_running_the_scripts_again_changes_passwords_and_nothing_else(deployed: Deployed) -> None:
    deployed.postgres.make_roles()
    deployed.postgres.grant()

    engine = deployed.as_role("tekana_ledger")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM partitions")) == 8
    engine.dispose()


def test_postgres_runs_with_the_settings_of_the_deployment(deployed: Deployed) -> None:
    engine = deployed.as_role("tekana_owner")
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "wal_compression": "pglz",
        "log_min_error_statement": "panic",
        "password_encryption": "scram-sha-256",
    }

    with engine.connect() as connection:
        found = {name: connection.scalar(text(f"SHOW {name}")) for name in expected}

    assert found == expected
    engine.dispose()


def test_the_log_of_postgres_quotes_nothing_that_was_said(deployed: Deployed) -> None:
    engine = deployed.as_role("tekana_owner")

    with engine.connect() as connection, pytest.raises(DBAPIError):
        connection.execute(text("INSERT INTO clients (name, scopes) VALUES ('Ama Mensah', '{}')"))

    log = deployed.postgres.log_path.read_text()
    assert "violates check constraint" in log
    assert "Ama Mensah" not in log
    engine.dispose()

"""Clients, keys and grants."""

from datetime import UTC, datetime, timedelta

import pytest

from storage import clients
from storage.clients import ProvisioningError, authenticate, key_digest
from tests.bookkeeping import wallet_id
from tests.storage.conftest import Books

BY = {"who": "tester", "reason": "a test"}


def add(books: Books, name: str, scopes: list[str], **more: object) -> int:
    with books.engine.begin() as connection:
        return clients.add_client(connection, name, scopes, **BY, **more)  # type: ignore[arg-type]


def key_of(books: Books, name: str, **more: object) -> str:
    with books.engine.begin() as connection:
        return clients.add_key(connection, name, kind="test", **BY, **more)  # type: ignore[arg-type]


def test_a_key_leads_to_its_client_and_only_its_digest_is_stored(books: Books):
    client_id = add(books, "bank", ["wallets:read", "transfers:write"])
    key = key_of(books, "bank")

    client = authenticate(books.engine, key_digest(key))

    assert client is not None
    assert (client.id, client.scopes) == (
        client_id,
        frozenset({"wallets:read", "transfers:write"}),
    )
    assert key.startswith("tekana_test_")
    assert len(key) > 50
    assert key not in str(books.rows("SELECT * FROM api_keys"))


def test_a_key_never_has_more_scopes_than_its_client(books: Books):
    add(books, "bank", ["wallets:read"])
    key = key_of(books, "bank", scopes=["wallets:read", "transfers:write"])

    client = authenticate(books.engine, key_digest(key))

    assert client is not None
    assert client.scopes == frozenset({"wallets:read"})


def test_an_unknown_an_expired_and_a_revoked_key_lead_nowhere(books: Books):
    add(books, "bank", ["wallets:read"])
    expired = key_of(books, "bank", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    revoked = key_of(books, "bank")
    (summary,) = [k for k in clients.list_keys(books.engine, "bank") if k.expires_at is None]
    with books.engine.begin() as connection:
        clients.revoke_key(connection, summary.id, **BY)

    for key in ("tekana_test_guess", expired, revoked):
        assert authenticate(books.engine, key_digest(key)) is None
    with pytest.raises(ProvisioningError), books.engine.begin() as connection:
        clients.revoke_key(connection, summary.id, **BY)


@pytest.mark.parametrize(
    ("name", "scopes", "floors"),
    [
        ("acme", ["wallets:read"], {}),
        ("Not a name", ["wallets:read"], {}),
        ("new", ["wallets:everything"], {}),
        ("new", ["wallets:read"], {"ZZZ": -1}),
        ("new", ["wallets:read"], {"KES": 1}),
    ],
)
def test_a_client_that_cannot_be_is_refused(books: Books, name, scopes, floors):
    with pytest.raises(ProvisioningError):
        add(books, name, scopes, settlement_floors_minor=floors)


def test_a_grant_is_for_wallets_that_exist_and_twice_is_once(books: Books):
    books.open("ann")
    for _ in range(2):
        with books.engine.begin() as connection:
            clients.grant(connection, "other", wallet_id("ann"), **BY)

    assert books.rows("SELECT count(*) FROM grants") == [(1,)]
    ((settlement,),) = books.rows("SELECT id FROM wallets WHERE customer_id IS NULL")
    for wallet in (wallet_id("nobody"), settlement):
        with pytest.raises(ProvisioningError), books.engine.begin() as connection:
            clients.grant(connection, "other", str(wallet), **BY)


def test_every_change_says_who_and_why(books: Books):
    add(books, "bank", ["wallets:read"])
    key_of(books, "bank")

    rows = books.rows("SELECT who, action, subject, reason FROM operator_actions ORDER BY id")

    assert rows == [
        ("tester", "client.add", "bank", "a test"),
        ("tester", "client.key.add", "bank", "a test"),
    ]


def test_a_change_that_is_rolled_back_is_not_in_the_audit(books: Books):
    connection = books.engine.connect()
    clients.add_client(connection, "bank", ["wallets:read"], who="me", reason="a test")
    connection.rollback()
    connection.close()

    assert books.rows("SELECT count(*) FROM operator_actions") == [(0,)]


def test_a_clients_settlement_position_is_one_number_a_currency(books: Books):
    books.open("ann", "ben")

    (acme, other) = clients.list_clients(books.engine)

    assert (acme.settlement, other.settlement) == ({"KES": -200}, {})

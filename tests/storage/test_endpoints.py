"""Endpoints of callbacks, and how their secrets are kept."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, text

from config.secret_keys import make_secret_key
from storage import endpoints
from storage.endpoints import ENDPOINTS_MAX, Endpoint, TooManyEndpoints
from storage.engine import read_engine
from storage.secrets import Sealed, SecretKeys, SecretUnreadable, make_secret
from tests.bookkeeping import CLIENT, OTHER_CLIENT
from tests.storage.conftest import Books

OLD_KEY, NEW_KEY = make_secret_key("old"), make_secret_key("new")
OLD, NEW = SecretKeys.from_setting(OLD_KEY), SecretKeys.from_setting(NEW_KEY)
BOTH = SecretKeys.from_setting(f"{NEW_KEY},{OLD_KEY}")

EVENTS = ["instruction.succeeded", "entry.posted"]


def add(
    books: Books,
    secret: bytes = b"s" * 32,
    keys: SecretKeys = OLD,
    client_id: int = CLIENT,
    engine: Engine | None = None,
) -> Endpoint:
    endpoint_id = str(uuid.uuid4())
    sealed = keys.encrypt(secret, endpoint_id)
    with (engine or books.engine).begin() as connection:
        return endpoints.create(
            connection, client_id, endpoint_id, "https://a.example/", EVENTS, sealed
        )


def row_of(books: Books, endpoint_id: str) -> Row[Any]:
    with books.engine.connect() as connection:
        found = connection.execute(
            text("SELECT * FROM callback_endpoints WHERE id = CAST(:id AS uuid)"),
            {"id": endpoint_id},
        )
        return found.one()


def secrets_of(books: Books, endpoint_id: str, keys: SecretKeys, hours: float = 0) -> list[bytes]:
    now = datetime.now(UTC) + timedelta(hours=hours)
    return endpoints.signing_secrets(row_of(books, endpoint_id), keys, now)


def rotate(books: Books, endpoint_id: str, secret: bytes, keys: SecretKeys = OLD) -> None:
    with books.engine.begin() as connection:
        sealed = keys.encrypt(secret, endpoint_id)
        assert endpoints.rotate_secret(connection, CLIENT, endpoint_id, sealed)


def encrypt_anew(books: Books, keys: SecretKeys) -> int:
    with books.engine.begin() as connection:
        return endpoints.encrypt_anew(connection, keys)


def test_a_secret_is_opened_by_its_key_for_its_endpoint_and_by_nothing_else():
    endpoint_id, other_id = str(uuid.uuid4()), str(uuid.uuid4())
    sealed = OLD.encrypt(b"a secret", endpoint_id)

    assert OLD.decrypt(sealed, endpoint_id) == b"a secret"
    assert BOTH.decrypt(sealed, endpoint_id) == b"a secret"
    changed = bytes([sealed.ciphertext[0] ^ 1]) + sealed.ciphertext[1:]
    for keys, wrong, where in (
        (OLD, sealed, other_id),
        (NEW, sealed, endpoint_id),
        (NEW, sealed._replace(key_id="new"), endpoint_id),
        (BOTH, sealed._replace(key_id="new"), endpoint_id),
        (OLD, sealed._replace(ciphertext=changed), endpoint_id),
        (OLD, sealed._replace(ciphertext=sealed.ciphertext[:-1]), endpoint_id),
        (OLD, sealed._replace(ciphertext=b""), endpoint_id),
        (OLD, sealed._replace(key_id=""), endpoint_id),
    ):
        with pytest.raises(SecretUnreadable):
            keys.decrypt(wrong, where)


def test_the_same_secret_is_never_encrypted_to_the_same_bytes():
    endpoint_id = str(uuid.uuid4())

    sealed = {OLD.encrypt(b"a secret", endpoint_id).ciphertext for _ in range(100)}

    assert len(sealed) == 100
    assert len({each[:12] for each in sealed}) == 100


def test_neither_keys_nor_secrets_are_in_a_repr_or_an_error(books: Books):
    secret = make_secret()
    endpoint = add(books, secret)
    sealed = Sealed("old", bytes(row_of(books, endpoint.id).secret))
    with pytest.raises(SecretUnreadable) as refused:
        NEW.decrypt(sealed, endpoint.id)

    told = repr([BOTH, endpoint, refused.value]) + str(refused.value)

    assert endpoint.id in told
    for private in (secret, bytes(sealed.ciphertext), *map(_key_of, (OLD_KEY, NEW_KEY))):
        assert repr(private)[2:-1] not in told
        assert private.hex() not in told
    assert "secret" not in Endpoint.__slots__


def _key_of(setting: str) -> bytes:
    return setting.partition(":")[2].encode()


def test_a_secret_is_stored_encrypted_alone(books: Books):
    secret = make_secret()
    endpoint = add(books, secret)

    row = row_of(books, endpoint.id)

    assert secret not in bytes(row.secret)
    assert len(bytes(row.secret)) == 12 + 32 + 16
    assert secrets_of(books, endpoint.id, OLD) == [secret]


def test_a_ciphertext_that_is_moved_to_another_endpoint_is_of_no_use(books: Books):
    mine, theirs = add(books), add(books, client_id=OTHER_CLIENT)
    with books.engine.begin() as connection:
        connection.execute(
            text("""
                UPDATE callback_endpoints SET (secret, secret_key_id) =
                    (SELECT secret, secret_key_id FROM callback_endpoints WHERE id = :theirs)
                WHERE id = :mine
            """),
            {"mine": mine.id, "theirs": theirs.id},
        )

    with pytest.raises(SecretUnreadable, match=mine.id):
        secrets_of(books, mine.id, OLD)


def test_a_rotated_secret_signs_beside_the_new_one_for_a_day(books: Books):
    endpoint = add(books, b"1" * 32)

    rotate(books, endpoint.id, b"2" * 32)

    assert secrets_of(books, endpoint.id, OLD) == [b"2" * 32, b"1" * 32]
    assert secrets_of(books, endpoint.id, OLD, hours=23.9) == [b"2" * 32, b"1" * 32]
    assert secrets_of(books, endpoint.id, OLD, hours=24.1) == [b"2" * 32]
    rotate(books, endpoint.id, b"3" * 32)
    assert secrets_of(books, endpoint.id, OLD) == [b"3" * 32, b"2" * 32]


def test_every_secret_is_encrypted_anew_also_after_an_interruption(
    books: Books, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(endpoints, "_ROTATED_AT_ONCE", 2)
    found = [add(books, bytes([number]) * 32) for number in range(5)]
    rotate(books, found[0].id, b"r" * 32)
    before = {each.id: secrets_of(books, each.id, OLD) for each in found}

    assert encrypt_anew(books, BOTH) == 2
    with books.engine.connect() as connection:  # Interrupted: what was begun is not done.
        assert endpoints.encrypt_anew(connection, BOTH) == 2
    assert {each.id: secrets_of(books, each.id, BOTH) for each in found} == before
    assert [encrypt_anew(books, BOTH) for _ in range(3)] == [2, 1, 0]

    assert {each.id: secrets_of(books, each.id, NEW) for each in found} == before


def test_an_old_secret_whose_day_is_over_is_erased_and_needs_no_key(books: Books):
    endpoint = add(books, b"1" * 32, OLD)
    rotate(books, endpoint.id, b"2" * 32, NEW)
    with books.engine.begin() as connection:
        connection.execute(text("UPDATE callback_endpoints SET old_secret_until = now()"))

    assert encrypt_anew(books, NEW) == 0

    assert row_of(books, endpoint.id).old_secret is None


def test_a_secret_that_cannot_be_read_is_named_and_nothing_is_lost(books: Books):
    endpoint = add(books, b"1" * 32, OLD)

    with pytest.raises(SecretUnreadable, match=f"{endpoint.id} needs the key old"):
        encrypt_anew(books, NEW)

    assert secrets_of(books, endpoint.id, OLD) == [b"1" * 32]


def test_a_deleted_endpoint_keeps_no_secret(books: Books):
    endpoint = add(books)
    rotate(books, endpoint.id, b"2" * 32)
    with books.engine.begin() as connection:
        assert endpoints.delete(connection, CLIENT, endpoint.id)
        assert not endpoints.delete(connection, CLIENT, endpoint.id)

    row = row_of(books, endpoint.id)

    assert (bytes(row.secret), row.secret_key_id, row.old_secret) == (b"", "", None)
    assert (row.enabled, row.disabled_reason) == (False, "deleted")
    assert endpoints.find(books.engine, CLIENT, endpoint.id) is None
    assert endpoints.list_all(books.engine) == []
    assert encrypt_anew(books, BOTH) == 0


def test_at_most_twenty_are_a_clients_however_many_are_added_at_once(books: Books):
    engine = read_engine(books.settings, pool_size=8)

    def attempt(_: int) -> bool:
        try:
            add(books, engine=engine)
        except TooManyEndpoints:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(attempt, range(30)))

    assert sum(added) == ENDPOINTS_MAX
    assert len(endpoints.list_own(engine, CLIENT, 100)) == ENDPOINTS_MAX
    add(books, client_id=OTHER_CLIENT)
    with books.engine.begin() as connection:
        one = endpoints.list_own(engine, CLIENT, 1)[0]
        endpoints.delete(connection, CLIENT, one.id)
    assert attempt(0)
    assert not attempt(0)
    engine.dispose()

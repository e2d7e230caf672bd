"""Clients, their API keys, and the wallets they were granted."""

import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import Connection, Engine, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError

from domain.money import EXPONENTS
from storage import audit
from storage.tables import api_keys, clients, grants, settlement_floors, wallets

SCOPES: Final = frozenset(
    {
        "customers:read",
        "customers:write",
        "wallets:read",
        "wallets:write",
        "transfers:write",
        "deposits:write",
        "withdrawals:write",
        "callbacks",
    }
)
"""All that a client can be allowed to do."""

_HINT_LENGTH: Final = 17

FIND_KEY: Final = text("""
    SELECT key.id AS key_id, key.expires_at, client.id, client.name,
           ARRAY(SELECT unnest(key.scopes) INTERSECT SELECT unnest(client.scopes)) AS scopes
    FROM api_keys AS key JOIN clients AS client ON client.id = key.client_id
    WHERE key.sha256 = :sha256
      AND key.revoked_at IS NULL
      AND (key.expires_at IS NULL OR key.expires_at > now())
""")


class ProvisioningError(ValueError):
    """An operator asked for something that cannot be; the message says what."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who calls, and what this key of theirs allows."""

    id: int
    name: str
    scopes: frozenset[str]
    key_id: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeySummary:
    """A key as it may be shown: never the key itself."""

    id: int
    client: str
    hint: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClientSummary:
    """A client with its scopes and the balance of its settlement accounts by currency."""

    id: int
    name: str
    scopes: list[str]
    created_at: datetime
    settlement: dict[str, int]


def key_digest(key: str) -> bytes:
    """What is stored of a key. It is 256 bits of chance, so a plain hash gives nothing away."""
    return hashlib.sha256(key.encode()).digest()


def authenticate(engine: Engine, digest: bytes) -> Client | None:
    """Find the client of a key by the key's digest; None if unknown, expired or revoked."""
    with engine.connect() as connection:
        row = connection.execute(FIND_KEY, {"sha256": digest}).one_or_none()
    if row is None:
        return None
    return Client(row.id, row.name, frozenset(row.scopes), row.key_id, row.expires_at)


def add_client(
    connection: Connection,
    name: str,
    scopes: Collection[str],
    *,
    who: str,
    reason: str,
    settlement_floors_minor: Mapping[str, int] | None = None,
) -> int:
    """Make a client and return its id.

    `settlement_floors_minor` bounds, by currency, how far below zero its settlement account
    may go (zero or negative); a currency that is not named has no bound.

    Raises: ProvisioningError for an unknown scope or currency, or a name that is taken.
    """
    _check_scopes(scopes)
    floors = dict(settlement_floors_minor or {})
    for currency, floor in floors.items():
        if currency not in EXPONENTS or floor > 0:
            raise ProvisioningError(f"{currency}={floor} is no floor of a settlement account")
    try:
        with connection.begin_nested():
            statement = insert(clients).values(name=name, scopes=sorted(scopes))
            made = connection.execute(statement.returning(clients.c.id))
            client_id: int = made.scalar_one()
    except IntegrityError as error:
        taken = getattr(error.orig, "pgcode", None) == "23505"
        why = "is taken" if taken else "must be lower-case letters, digits and dashes"
        raise ProvisioningError(f"the name {name!r} {why}") from None
    for currency, floor in floors.items():
        named = {"client_id": client_id, "currency": currency, "floor": floor}
        connection.execute(insert(settlement_floors).values(named))
    audit.record(connection, who, "client.add", name, reason, scopes=sorted(scopes), floors=floors)
    return client_id


def client_id_of(connection: Connection, name: str) -> int:
    """Raises: ProvisioningError if there is no client of this name."""
    client_id: int | None = connection.scalar(select(clients.c.id).where(clients.c.name == name))
    if client_id is None:
        raise ProvisioningError(f"there is no client {name!r}")
    return client_id


def list_clients(engine: Engine) -> list[ClientSummary]:
    """Every client, by id."""
    settlement = text("""
        SELECT client_id, currency, CAST(sum(balance) AS bigint) AS balance
        FROM wallets WHERE customer_id IS NULL GROUP BY client_id, currency ORDER BY currency
    """)
    with engine.connect() as connection:
        balances: dict[int, dict[str, int]] = {}
        for row in connection.execute(settlement):
            balances.setdefault(row.client_id, {})[row.currency] = row.balance
        rows = connection.execute(select(clients).order_by(clients.c.id))
        return [ClientSummary(**row._mapping, settlement=balances.get(row.id, {})) for row in rows]


def add_key(
    connection: Connection,
    client_name: str,
    *,
    kind: Literal["live", "test"],
    who: str,
    reason: str,
    scopes: Collection[str] | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Make a key and return it: this is the only time that it can be seen.

    Without scopes of its own it has all of its client's. It never has more than those.

    Raises: ProvisioningError for an unknown client or scope.
    """
    client_id = client_id_of(connection, client_name)
    if scopes is None:
        scopes = connection.scalar(select(clients.c.scopes).where(clients.c.id == client_id)) or []
    _check_scopes(scopes)
    key = f"tekana_{kind}_{secrets.token_urlsafe(32)}"
    key_id = connection.execute(
        insert(api_keys)
        .values(
            client_id=client_id,
            sha256=key_digest(key),
            hint=key[:_HINT_LENGTH],
            scopes=sorted(scopes),
            expires_at=expires_at,
        )
        .returning(api_keys.c.id)
    ).scalar_one()
    details = {"key_id": key_id, "scopes": sorted(scopes)}
    audit.record(connection, who, "client.key.add", client_name, reason, **details)
    return key


def list_keys(engine: Engine, client_name: str | None = None) -> list[KeySummary]:
    """The keys of one client, or of all, oldest first."""
    key = api_keys.c
    statement = (
        select(
            key.id,
            clients.c.name.label("client"),
            key.hint,
            key.scopes,
            key.created_at,
            key.expires_at,
            key.revoked_at,
        )
        .join_from(api_keys, clients)
        .order_by(key.id)
    )
    if client_name is not None:
        statement = statement.where(clients.c.name == client_name)
    with engine.connect() as connection:
        if client_name is not None:
            client_id_of(connection, client_name)
        return [KeySummary(**row._mapping) for row in connection.execute(statement)]


def revoke_key(connection: Connection, key_id: int, *, who: str, reason: str) -> None:
    """End a key. The API forgets it within its cache time.

    Raises: ProvisioningError if there is no such key, or it is revoked already.
    """
    revoked = connection.execute(
        update(api_keys)
        .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=text("now()"))
    )
    if revoked.rowcount == 0:
        raise ProvisioningError(f"there is no key {key_id} that could be revoked")
    audit.record(connection, who, "client.key.revoke", str(key_id), reason)


def grant(
    connection: Connection, client_name: str, wallet_id: str, *, who: str, reason: str
) -> None:
    """Let a client read and debit a wallet that another client opened. Twice is once.

    Raises: ProvisioningError for an unknown client or wallet.
    """
    client_id = client_id_of(connection, client_name)
    found = select(wallets.c.id).where(
        wallets.c.id == wallet_id, wallets.c.customer_id.is_not(None)
    )
    if connection.scalar(found) is None:
        raise ProvisioningError(f"there is no wallet {wallet_id}")
    statement = upsert(grants).values(client_id=client_id, wallet_id=wallet_id)
    connection.execute(statement.on_conflict_do_nothing())
    audit.record(connection, who, "client.grant", client_name, reason, wallet_id=wallet_id)


def _check_scopes(scopes: Collection[str]) -> None:
    unknown = sorted(set(scopes) - SCOPES)
    if unknown:
        raise ProvisioningError(
            f"unknown scope {', '.join(unknown)}; there are {', '.join(sorted(SCOPES))}"
        )

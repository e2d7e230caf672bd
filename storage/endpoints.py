"""Callback endpoints: where a client wants to be told, of what, and signed with which secret.

Every function that takes a client's id is for that client's endpoints alone: another client's
are not there. Changes run in the caller's transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, and_, case, func, insert, select, text, update

from storage.clients import client_id_of
from storage.secrets import Sealed, SecretKeys
from storage.tables import callback_endpoints, clients

ENDPOINTS_MAX: Final = 20
"""Of one client."""

OLD_SECRET_KEPT: Final = timedelta(hours=24)
"""For how long a secret that was rotated away still signs."""

DISABLED_BY_CLIENT: Final = "by its client"
_DELETED: Final = "deleted"

_LOCK: Final = 0x63616C6C
"""With a client's id: whoever adds an endpoint waits for whoever is adding one."""

_ROTATED_AT_ONCE: Final = 200

_at = callback_endpoints.c


class TooManyEndpoints(ValueError):
    """The client has as many endpoints as it may have."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as it may be shown: never with a secret, not even an encrypted one."""

    id: str
    client_id: int
    url: str = field(repr=False)  # Some receivers put a token of theirs into it.
    events: list[str]
    enabled: bool
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    created_at: datetime


_SHOWN: Final = tuple(callback_endpoints.c[each.name] for each in fields(Endpoint))
_NOT_DELETED: Final = _at.deleted_at.is_(None)


def create(
    connection: Connection,
    client_id: int,
    endpoint_id: str,
    url: str,
    events: Sequence[str],
    secret: Sealed,
) -> Endpoint:
    """Add an endpoint. Raises: TooManyEndpoints, however many try at once."""
    # Without the lock, two who count 19 at once make 21.
    connection.execute(
        text("SELECT pg_advisory_xact_lock(:kind, :client_id)"),
        {"kind": _LOCK, "client_id": client_id},
    )
    count = select(func.count()).where(_at.client_id == client_id, _NOT_DELETED)
    if (connection.scalar(count) or 0) >= ENDPOINTS_MAX:
        raise TooManyEndpoints
    added = insert(callback_endpoints).values(
        id=endpoint_id,
        client_id=client_id,
        url=url,
        events=list(events),
        secret=secret.ciphertext,
        secret_key_id=secret.key_id,
    )
    return _shown(connection.execute(added.returning(*_SHOWN)).one())


def list_own(
    engine: Engine, client_id: int, limit: int, after: str | None = None
) -> list[Endpoint]:
    """A client's endpoints by id, from after the id given."""
    own = select(*_SHOWN).where(_at.client_id == client_id, _NOT_DELETED)
    if after is not None:
        own = own.where(_at.id > after)
    with engine.connect() as connection:
        return [_shown(row) for row in connection.execute(own.order_by(_at.id).limit(limit))]


def find(engine: Engine, client_id: int, endpoint_id: str) -> Endpoint | None:
    """One of a client's endpoints."""
    with engine.connect() as connection:
        row = connection.execute(select(*_SHOWN).where(_own(client_id, endpoint_id))).one_or_none()
    return None if row is None else _shown(row)


def change(
    connection: Connection,
    client_id: int,
    endpoint_id: str,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    enabled: bool | None = None,
) -> Endpoint | None:
    """Change what is given, and return the endpoint; None if there is none.

    Another URL, and being enabled again, forget that it was failing.
    """
    values: dict[str, Any] = {}
    if events is not None:
        values["events"] = list(events)
    if url is not None:
        values["url"] = url
    if enabled is False:
        values["enabled"] = False
        values["disabled_at"] = func.coalesce(_at.disabled_at, func.now())
        values["disabled_reason"] = case(
            (_at.enabled, DISABLED_BY_CLIENT), else_=_at.disabled_reason
        )
    if enabled is True:
        values |= {"enabled": True, "disabled_at": None, "disabled_reason": None}
    if url is not None or enabled is True:
        values |= {"failing_since": None, "probe_at": None}
    statement = update(callback_endpoints).where(_own(client_id, endpoint_id)).values(values)
    row = connection.execute(statement.returning(*_SHOWN)).one_or_none()
    return None if row is None else _shown(row)


def delete(connection: Connection, client_id: int, endpoint_id: str) -> bool:
    """Delete an endpoint: it is disabled, and its secrets are erased. Whether there was one.

    The row stays for the deliveries that name it.
    """
    deleted = connection.execute(
        update(callback_endpoints)
        .where(_own(client_id, endpoint_id))
        .values(
            secret=b"",
            secret_key_id="",
            old_secret=None,
            old_secret_key_id=None,
            old_secret_until=None,
            enabled=False,
            disabled_at=func.coalesce(_at.disabled_at, func.now()),
            disabled_reason=_DELETED,
            deleted_at=func.now(),
        )
    )
    return deleted.rowcount == 1


def rotate_secret(
    connection: Connection, client_id: int, endpoint_id: str, secret: Sealed
) -> Endpoint | None:
    """Give an endpoint a new secret; the one before signs beside it for `OLD_SECRET_KEPT`.

    One that was rotated away before that signs no more. None if there is no such endpoint.
    """
    statement = (
        update(callback_endpoints)
        .where(_own(client_id, endpoint_id))
        .values(
            secret=secret.ciphertext,
            secret_key_id=secret.key_id,
            old_secret=_at.secret,
            old_secret_key_id=_at.secret_key_id,
            old_secret_until=func.now() + OLD_SECRET_KEPT,
        )
    )
    row = connection.execute(statement.returning(*_SHOWN)).one_or_none()
    return None if row is None else _shown(row)


def signing_secrets(endpoint: Row[Any], keys: SecretKeys, now: datetime) -> list[bytes]:
    """What to sign with now, the newest first, from a row of `callback_endpoints`.

    Raises: SecretUnreadable.
    """
    secrets = [keys.decrypt(_sealed(endpoint.secret_key_id, endpoint.secret), endpoint.id)]
    if endpoint.old_secret is not None and now < endpoint.old_secret_until:
        old = _sealed(endpoint.old_secret_key_id, endpoint.old_secret)
        secrets.append(keys.decrypt(old, endpoint.id))
    return secrets


def list_all(engine: Engine, client_name: str | None = None) -> list[tuple[str, Endpoint]]:
    """For operators: every client's endpoints with the client's name, oldest first.

    Raises: ProvisioningError if there is no client of this name.
    """
    statement = (
        select(clients.c.name.label("client"), *_SHOWN)
        .join_from(callback_endpoints, clients)
        .where(_NOT_DELETED)
        .order_by(_at.created_at, _at.id)
    )
    with engine.connect() as connection:
        if client_name is not None:
            statement = statement.where(_at.client_id == client_id_of(connection, client_name))
        return [(row.client, _shown(row)) for row in connection.execute(statement)]


def exists(connection: Connection, endpoint_id: str) -> bool:
    """For operators: whether any client has this endpoint, and has not deleted it."""
    found = select(_at.id).where(_at.id == endpoint_id, _NOT_DELETED)
    return connection.scalar(found) is not None


def encrypt_anew(connection: Connection, keys: SecretKeys) -> int:
    """Encrypt some of the secrets that another key encrypted with the current one.

    Returns how many endpoints were changed, 0 once there are none left: whoever is interrupted
    goes on where it was. An old secret whose time is over is erased. Raises: SecretUnreadable.
    """
    over = update(callback_endpoints).where(_at.old_secret_until <= func.now())
    connection.execute(over.values(old_secret=None, old_secret_key_id=None, old_secret_until=None))
    stale = _at.secret_key_id != keys.current_id
    stale_old = and_(_at.old_secret.is_not(None), _at.old_secret_key_id != keys.current_id)
    rows = connection.execute(
        select(_at.id, _at.secret, _at.secret_key_id, _at.old_secret, _at.old_secret_key_id)
        .where(_NOT_DELETED, stale | stale_old)
        .order_by(_at.id)
        .limit(_ROTATED_AT_ONCE)
        .with_for_update()
    ).all()
    for row in rows:
        values = _encrypted_anew(row.id, _sealed(row.secret_key_id, row.secret), keys, "")
        if row.old_secret is not None:
            old = _sealed(row.old_secret_key_id, row.old_secret)
            values |= _encrypted_anew(row.id, old, keys, "old_")
        connection.execute(update(callback_endpoints).where(_at.id == row.id).values(values))
    return len(rows)


def _encrypted_anew(
    endpoint_id: str, sealed: Sealed, keys: SecretKeys, prefix: str
) -> dict[str, Any]:
    again = keys.encrypt(keys.decrypt(sealed, endpoint_id), endpoint_id)
    return {f"{prefix}secret": again.ciphertext, f"{prefix}secret_key_id": again.key_id}


def _own(client_id: int, endpoint_id: str) -> Any:
    return and_(_at.id == endpoint_id, _at.client_id == client_id, _NOT_DELETED)


def _sealed(key_id: str, ciphertext: bytes) -> Sealed:
    return Sealed(key_id, bytes(ciphertext))


def _shown(row: Row[Any]) -> Endpoint:
    return Endpoint(**{each.name: getattr(row, each.name) for each in fields(Endpoint)})

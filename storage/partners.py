"""Partners: clients that publish to an exchange and read a queue of their own."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine, RowMapping, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from storage import audit
from storage.clients import ProvisioningError, add_client, client_id_of
from storage.tables import clients, grants, partners, settlement_floors

DEFAULT_RATE_PER_S: Final = 1_000
"""Messages per second that are taken from an inbox. Those above wait; none is dropped."""


@dataclass(frozen=True, slots=True)
class Partner:
    """Somebody whose inbox is read now. `suspended_reason`: all that it sends is refused."""

    client_id: int
    name: str
    scopes: frozenset[str]
    rate_per_s: int
    suspended_reason: str | None


@dataclass(frozen=True, slots=True)
class PartnerSummary:
    """A partner as operators see it, those that were removed too."""

    client_id: int
    name: str
    scopes: list[str]
    rate_per_s: int
    created_at: datetime
    suspended_at: datetime | None
    suspended_reason: str | None
    removed_at: datetime | None


_SUMMARY: Final = (
    select(
        partners.c.client_id,
        clients.c.name,
        clients.c.scopes,
        partners.c.rate_per_s,
        partners.c.created_at,
        partners.c.suspended_at,
        partners.c.suspended_reason,
        partners.c.removed_at,
    )
    .join_from(partners, clients)
    .order_by(clients.c.name)
)


def active(engine: Engine) -> list[Partner]:
    """Every partner that was not removed, by name; those that are suspended are among them."""
    with engine.connect() as connection:
        rows = connection.execute(_SUMMARY.where(partners.c.removed_at.is_(None)))
        return [
            Partner(
                row.client_id,
                row.name,
                frozenset(row.scopes),
                row.rate_per_s,
                row.suspended_reason,
            )
            for row in rows
        ]


def summaries(engine: Engine) -> list[PartnerSummary]:
    """Every partner there ever was, by name."""
    with engine.connect() as connection:
        return [PartnerSummary(**row._mapping) for row in connection.execute(_SUMMARY)]


def summary(connection: Connection, name: str) -> PartnerSummary:
    """One partner, whatever its state. Raises: ProvisioningError if there is none."""
    row = connection.execute(_SUMMARY.where(clients.c.name == name)).one_or_none()
    if row is None:
        raise ProvisioningError(f"there is no partner {name!r}")
    return PartnerSummary(**row._mapping)


def granted(connection: Connection, client_id: int) -> list[str]:
    """The wallets of others that a client may read and debit."""
    statement = select(grants.c.wallet_id).where(grants.c.client_id == client_id)
    return list(connection.scalars(statement.order_by(grants.c.wallet_id)))


def ensure_client(
    connection: Connection,
    name: str,
    scopes: Collection[str],
    *,
    who: str,
    reason: str,
    settlement_floors_minor: Mapping[str, int] | None = None,
) -> bool:
    """Make the client that is to be a partner, unless there is one with just these properties.

    Returns whether it was made. Of a client that exists, no scopes and no floors mean: as they
    are. Raises: ProvisioningError if it has others than these, for they are not changed.
    """
    floors = dict(settlement_floors_minor or {})
    found = connection.execute(
        select(clients.c.id, clients.c.scopes).where(clients.c.name == name)
    ).one_or_none()
    if found is None:
        if not scopes:
            raise ProvisioningError(f"there is no client {name!r}, and a new one needs scopes")
        add_client(connection, name, scopes, who=who, reason=reason, settlement_floors_minor=floors)
        return True
    if scopes and set(scopes) != set(found.scopes):
        raise ProvisioningError(
            f"the client {name!r} exists with other scopes: {', '.join(found.scopes)}"
        )
    bound = settlement_floors.c
    rows = connection.execute(
        select(bound.currency, bound.floor).where(bound.client_id == found.id)
    )
    if floors and floors != {row.currency: row.floor for row in rows}:
        raise ProvisioningError(f"the client {name!r} exists with other floors")
    return False


def add(
    connection: Connection, name: str, *, who: str, reason: str, rate_per_s: int | None = None
) -> bool:
    """Make a client a partner, or one that was removed a partner again.

    Returns whether that changed anything. From then on its events are kept for its queue, so
    that queue should be made by the same command. Without a rate it has the usual one, or the
    one that it has.

    Raises: ProvisioningError if there is no such client, or it is a partner with another rate.
    """
    client_id = client_id_of(connection, name)
    rate = rate_per_s or DEFAULT_RATE_PER_S
    new = upsert(partners).values(client_id=client_id, rate_per_s=rate).on_conflict_do_nothing()
    made = connection.execute(new).rowcount == 1
    there = None if made else _locked(connection, name)
    if there is not None and there["removed_at"] is None:
        if rate_per_s not in (None, there["rate_per_s"]):
            raise ProvisioningError(
                f"the partner {name!r} exists with a rate of {there['rate_per_s']} per second"
            )
        return False
    if there is not None:
        _set(
            connection,
            client_id,
            rate_per_s=rate,
            removed_at=None,
            suspended_at=None,
            suspended_reason=None,
        )
    audit.record(connection, who, "partner.add", name, reason, rate_per_s=rate)
    return True


def set_rate(connection: Connection, name: str, rate_per_s: int, *, who: str, reason: str) -> None:
    """Take so many messages a second from its inbox. Raises: ProvisioningError."""
    client_id = lock(connection, name)
    _set(connection, client_id, rate_per_s=rate_per_s)
    audit.record(connection, who, "partner.rate", name, reason, rate_per_s=rate_per_s)


def suspend(connection: Connection, name: str, *, who: str, reason: str) -> None:
    """Have everything that it sends refused, with this reason.

    Raises: ProvisioningError if there is no such partner, or it is suspended already.
    """
    client_id = lock(connection, name)
    if summary(connection, name).suspended_at is not None:
        raise ProvisioningError(f"the partner {name!r} is suspended already")
    _set(connection, client_id, suspended_at=func.now(), suspended_reason=reason)
    audit.record(connection, who, "partner.suspend", name, reason)


def resume(connection: Connection, name: str, *, who: str, reason: str) -> None:
    """Accept again what it sends.

    Raises: ProvisioningError if there is no such partner, or it is not suspended.
    """
    client_id = lock(connection, name)
    if summary(connection, name).suspended_at is None:
        raise ProvisioningError(f"the partner {name!r} is not suspended")
    _set(connection, client_id, suspended_at=None, suspended_reason=None)
    audit.record(connection, who, "partner.resume", name, reason)


def remove(connection: Connection, name: str, *, who: str, reason: str) -> bool:
    """Stop reading its inbox and keeping events for its queue. It stays a client.

    Returns whether that changed anything. Raises: ProvisioningError if there never was one.
    """
    client_id = client_id_of(connection, name)
    row = _locked(connection, name)
    if row is None:
        raise ProvisioningError(f"there is no partner {name!r}")
    if row["removed_at"] is not None:
        return False
    _set(connection, client_id, removed_at=func.now())
    audit.record(connection, who, "partner.remove", name, reason)
    return True


def lock(connection: Connection, name: str) -> int:
    """Hold a partner until the transaction ends, and return its client's id.

    Raises: ProvisioningError if there is none, or it was removed.
    """
    row = _locked(connection, name)
    if row is None or row["removed_at"] is not None:
        was = "" if row is None else " any more"
        raise ProvisioningError(f"there is no partner {name!r}{was}")
    client_id: int = row["client_id"]
    return client_id


def _locked(connection: Connection, name: str) -> RowMapping | None:
    statement = (
        select(partners)
        .join_from(partners, clients)
        .where(clients.c.name == name)
        .with_for_update(of=partners)
    )
    return connection.execute(statement).mappings().one_or_none()


def _set(connection: Connection, client_id: int, **values: object) -> None:
    connection.execute(update(partners).where(partners.c.client_id == client_id).values(**values))

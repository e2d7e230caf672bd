"""What has to be known of a partner and its keys when its messages are taken in."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from storage.arrays import array

STANDING: Final = text("""
    SELECT clients.scopes, partners.suspended_reason
    FROM partners JOIN clients ON clients.id = partners.client_id
    WHERE partners.client_id = :client_id AND partners.removed_at IS NULL
""")

DECIDED: Final = text("""
    SELECT id, fingerprint, rejection IS NULL AS succeeded
    FROM instructions
    WHERE id = ANY (CAST(:ids AS uuid[])) AND client_id = :client_id
""")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a partner may send now. `suspended_reason`: nothing, and why."""

    scopes: frozenset[str]
    suspended_reason: str | None


class Outcome(NamedTuple):
    """That an instruction was decided, and of which body."""

    fingerprint: str
    succeeded: bool


def standing(connection: Connection, client_id: int) -> Standing | None:
    """A partner as it stands at this moment; None if it is none, or none any more."""
    row = connection.execute(STANDING, {"client_id": client_id}).one_or_none()
    return None if row is None else Standing(frozenset(row.scopes), row.suspended_reason)


def decided(connection: Connection, client_id: int, ids: Collection[str]) -> dict[str, Outcome]:
    """Which of a client's instructions have their outcome, by id."""
    if not ids:
        return {}
    named: dict[str, Any] = {"client_id": client_id, "ids": array(ids)}
    return {
        row.id: Outcome(bytes(row.fingerprint).hex(), row.succeeded)
        for row in connection.execute(DECIDED, named)
    }

"""What has to be known of a partner and its keys when its messages are taken in."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import Connection

from storage.arrays import array
from storage.prepared import Prepared

STANDING: Final = Prepared(
    "standing",
    """
    SELECT clients.scopes, partners.suspended_reason
    FROM partners JOIN clients ON clients.id = partners.client_id
    WHERE partners.client_id = :client_id AND partners.removed_at IS NULL
    """,
    client_id="integer",
)

DECIDED: Final = Prepared(
    "decided",
    """
    SELECT id, fingerprint, rejection IS NULL
    FROM instructions
    WHERE id = ANY (:ids) AND client_id = :client_id
    """,
    ids="uuid[]",
    client_id="integer",
)


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
    rows = STANDING.run(connection, client_id=client_id).rows
    if not rows:
        return None
    [(scopes, suspended_reason)] = rows
    return Standing(frozenset(scopes), suspended_reason)


def decided(connection: Connection, client_id: int, ids: Collection[str]) -> dict[str, Outcome]:
    """Which of a client's instructions have their outcome, by id."""
    if not ids:
        return {}
    found = DECIDED.run(connection, ids=array(ids), client_id=client_id).rows
    return {
        instruction_id: Outcome(bytes(fingerprint).hex(), succeeded)
        for instruction_id, fingerprint, succeeded in found
    }

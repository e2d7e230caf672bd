"""Messages that could not be decided, kept until an operator decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from domain.events import Event, EventType, without_personal_data
from domain.fields import timestamp_text
from domain.identity import derived_id
from domain.instructions import Instruction, Undecodable, decode
from domain.views import queued_view
from storage import audit, events
from storage.tables import instructions, parked

Resolution = Literal["retried", "rejected", "discarded"]


class NotParked(LookupError):
    """No message with this number waits for an operator."""


@dataclass(frozen=True, slots=True)
class Parked:
    """One message with the reason why it could not be decided."""

    id: int
    partition: int
    instruction_id: str | None
    body: bytes = field(repr=False)
    headers: dict[str, Any] = field(repr=False)
    reason: str
    parked_at: datetime
    resolution: str | None
    resolved_at: datetime | None


def park(
    engine: Engine,
    partition: int,
    body: bytes,
    headers: Mapping[str, Any],
    reason: str,
    instruction_id: str | None,
    at: datetime,
) -> bool:
    """Keep a message; committed on return, so that it can be acknowledged.

    The same bytes on the same partition are kept once for as long as nobody has resolved
    them. Returns whether they are new. Whoever submitted the instruction in it is told, unless
    it has an outcome; nothing is handed on, because that event can wait for the sweep.
    """
    statement = insert(parked).values(
        partition=partition,
        instruction_id=instruction_id,
        body=body,
        headers=dict(headers),
        # Postgres takes no NUL, and a reason must never be why a message cannot be put aside.
        reason=reason.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        parked_at=at,
    )
    once = statement.on_conflict_do_nothing(
        index_elements=[parked.c.partition, text("sha256(body)")],
        index_where=text("resolution IS NULL"),
    )
    with engine.begin() as connection:
        parked_id = connection.scalar(once.returning(parked.c.id))
        if parked_id is not None and instruction_id is not None:
            _tell(connection, parked_id, body, at)
    return parked_id is not None


def list_unresolved(engine: Engine, limit: int = 100) -> list[Parked]:
    """What waits for an operator, oldest first."""
    waiting = select(parked).where(parked.c.resolution.is_(None)).order_by(parked.c.id)
    with engine.connect() as connection:
        return [_restored(row) for row in connection.execute(waiting.limit(limit))]


def count_unresolved(engine: Engine) -> int:
    """How many messages wait for an operator."""
    statement = select(func.count()).where(parked.c.resolution.is_(None))
    with engine.connect() as connection:
        return connection.scalar(statement) or 0


def find(engine: Engine, parked_id: int) -> Parked:
    """One message, resolved or not. Raises: NotParked."""
    with engine.connect() as connection:
        row = connection.execute(select(parked).where(parked.c.id == parked_id)).one_or_none()
    if row is None:
        raise NotParked(parked_id)
    return _restored(row)


def resolve(
    connection: Connection, parked_id: int, resolution: Resolution, *, who: str, reason: str
) -> None:
    """Note an operator's decision, in the transaction that carries it out.

    Raises: NotParked if it is unknown or was resolved before.
    """
    resolved = connection.execute(
        update(parked)
        .where(parked.c.id == parked_id, parked.c.resolution.is_(None))
        .values(resolution=resolution, resolved_at=func.now())
    )
    if resolved.rowcount == 0:
        raise NotParked(parked_id)
    audit.record(connection, who, f"parked.{resolution}", str(parked_id), reason)


def _tell(connection: Connection, parked_id: int, body: bytes, at: datetime) -> None:
    try:
        instruction = decode(body)
    except Undecodable:
        return
    outcome = select(instructions.c.id).where(instructions.c.id == instruction.id)
    if connection.scalar(outcome) is None:
        event = _event(instruction, parked_id, at)
        events.add_documents(connection, instruction.client_id, [event], at)


def _event(instruction: Instruction, parked_id: int, at: datetime) -> Event:
    """It may be parked again after a retry, which is another event: hence the number."""
    return Event(
        derived_id("event", instruction.client_id, instruction.id, "parked", parked_id),
        EventType.PARKED,
        timestamp_text(at),
        without_personal_data(queued_view(instruction, "parked")),
    )


def _restored(row: Any) -> Parked:
    return Parked(**{**row._mapping, "body": bytes(row.body)})

"""The log of deliveries: what was sent to an endpoint, what came of it, and sending it again.

A delivery is named by its event's id. It is tried in rounds: when it is asked for again, a mark
is put behind its attempts, and whoever delivers counts those that follow the last mark.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, Engine, Row, and_, case, func, literal, select, tuple_, update

from domain.fields import timestamp_text
from storage.tables import callback_endpoints, deliveries

Status = Literal["pending", "delivered", "exhausted"]

REDELIVER: Final = "redeliver"
"""The key of a mark among the attempts; its value says who asked."""

_REDELIVERED_AT_ONCE: Final = 5_000

Place = tuple[datetime, str]
"""Where a page ends: the time of an event and its id."""

_at = deliveries.c
_endpoint = callback_endpoints.c


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was sent to one endpoint of one event, and what is still to be."""

    event_id: str
    event_type: str
    event_at: datetime
    status: Status
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    attempts: list[dict[str, Any]]

    @property
    def place(self) -> Place:
        """Where a page that ends with this delivery ends."""
        return self.event_at, self.event_id

    def view(self) -> dict[str, Any]:
        """The delivery as its client is shown it."""
        return {
            "id": self.event_id,
            "type": self.event_type,
            "timestamp": timestamp_text(self.event_at),
            "status": self.status,
            "next_attempt_at": _text(self.next_attempt_at),
            "delivered_at": _text(self.delivered_at),
            "attempts": self.attempts,
        }


class Round(NamedTuple):
    """The attempts that count: those since the delivery was made, or was last asked for again."""

    attempts: int
    since: datetime


def current_round(attempts: Sequence[Mapping[str, Any]], event_at: datetime) -> Round:
    """How often a delivery was tried in its round, and when that began."""
    for count, attempt in enumerate(reversed(attempts)):
        if REDELIVER in attempt:
            return Round(count, datetime.fromisoformat(attempt["at"]))
    return Round(len(attempts), event_at)


def list_deliveries(
    engine: Engine,
    client_id: int,
    endpoint_id: str,
    limit: int,
    *,
    before: Place | None = None,
    status: Status | None = None,
) -> list[Delivery] | None:
    """What was sent to a client's endpoint, the newest event first, from before a place.

    None if the client has no such endpoint.
    """
    own = select(_endpoint.id).where(_own(client_id, endpoint_id))
    with engine.connect() as connection:
        if connection.scalar(own) is None:
            return None
        rows = connection.execute(_newest_first(endpoint_id, limit, before, status))
        return [_restored(row) for row in rows]


def list_for_operator(
    engine: Engine, endpoint_id: str, limit: int, status: Status | None = None
) -> list[Delivery]:
    """What was sent to any endpoint, a deleted one included, the newest event first."""
    with engine.connect() as connection:
        rows = connection.execute(_newest_first(endpoint_id, limit, None, status))
        return [_restored(row) for row in rows]


def count_pending(engine: Engine) -> dict[str, int]:
    """How many deliveries each endpoint still waits for, where there are any."""
    waiting = select(_at.endpoint_id, func.count()).where(_at.status == "pending")
    with engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(waiting.group_by(_at.endpoint_id))}


def redeliver(
    connection: Connection, client_id: int, endpoint_id: str, event_id: str
) -> Delivery | None:
    """Have one delivery of a client's endpoint sent again, now and for another round.

    None if the client has no such delivery.
    """
    if connection.scalar(select(_endpoint.id).where(_own(client_id, endpoint_id))) is None:
        return None
    _try_now(connection, endpoint_id)
    again = _again(endpoint_id, "client").where(_at.event_id == event_id)
    row = connection.execute(again.returning(deliveries)).one_or_none()
    return None if row is None else _restored(row)


def redeliver_as_operator(connection: Connection, endpoint_id: str, event_id: str) -> bool:
    """Have one delivery of any endpoint sent again. Whether there is one."""
    _try_now(connection, endpoint_id)
    again = _again(endpoint_id, "operator").where(_at.event_id == event_id)
    return connection.execute(again).rowcount == 1


def redeliver_some_since(
    connection: Connection, endpoint_id: str, since: datetime
) -> tuple[int, datetime | None]:
    """Have the deliveries of events since a time sent again, the oldest some of them.

    Returns how many, and the time to go on from; None when that was all. In pieces, because
    whoever delivers cannot note anything of what is held by a transaction.
    """
    _try_now(connection, endpoint_id)
    own = select(_at.event_at).where(_at.endpoint_id == endpoint_id)
    later = own.where(_at.event_at > since).order_by(_at.event_at)
    until = connection.scalar(later.offset(_REDELIVERED_AT_ONCE).limit(1))
    again = _again(endpoint_id, "operator").where(_at.event_at >= since)
    if until is not None:
        again = again.where(_at.event_at < until)
    return connection.execute(again).rowcount, until


def _newest_first(endpoint_id: str, limit: int, before: Place | None, status: Status | None) -> Any:
    found = select(deliveries).where(_at.endpoint_id == endpoint_id)
    if before is not None:
        found = found.where(tuple_(_at.event_at, _at.event_id) < before)
    if status is not None:
        found = found.where(_at.status == status)
    return found.order_by(_at.event_at.desc(), _at.event_id.desc()).limit(limit)


def _again(endpoint_id: str, who: str) -> Any:
    marked = _at.attempts[-1].has_key(REDELIVER)
    mark = func.jsonb_build_array(
        func.jsonb_build_object("at", _rfc_3339_now(), REDELIVER, literal(who))
    )
    return (
        update(deliveries)
        .where(_at.endpoint_id == endpoint_id)
        .values(
            status="pending",
            next_attempt_at=func.now(),
            delivered_at=None,
            # One mark is as good as many, and many would be somebody's way to fill the disk.
            attempts=case((marked, _at.attempts), else_=_at.attempts.concat(mark)),
        )
    )


def _rfc_3339_now() -> Any:
    utc = func.timezone("UTC", func.now())
    return func.to_char(utc, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')


def _try_now(connection: Connection, endpoint_id: str) -> None:
    """Even if the endpoint is failing and was to be left alone for a while.

    Before the deliveries are touched: whoever delivers locks the two in this order.
    """
    waiting = and_(_endpoint.id == endpoint_id, _endpoint.probe_at > func.now())
    connection.execute(update(callback_endpoints).where(waiting).values(probe_at=func.now()))


def _own(client_id: int, endpoint_id: str) -> Any:
    return and_(
        _endpoint.id == endpoint_id,
        _endpoint.client_id == client_id,
        _endpoint.deleted_at.is_(None),
    )


def _restored(row: Row[Any]) -> Delivery:
    return Delivery(
        row.event_id,
        row.event_type,
        row.event_at,
        row.status,
        row.next_attempt_at if row.status == "pending" else None,
        row.delivered_at,
        row.attempts,
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp_text(moment)

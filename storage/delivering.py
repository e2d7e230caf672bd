"""Deliveries on their way: what is due, who delivers it now, and how that went.

All times are those of Postgres. An endpoint has one deliverer at a time, who holds its lease;
a lease that nobody renews runs out, so whatever a crash interrupts is taken up again, and what
had been sent but not been noted is sent again under the same id.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from pydantic_core import to_json
from sqlalchemy import Connection, Engine, Row, text

from storage import events
from storage.arrays import array, text_array

LEASE_S: Final = 30
"""How long a deliverer that has died holds up its endpoint. A living one renews in time."""

ASKED_S: Final = 1.0
"""For so long a message to a deliverer is believed to be on its way; then a sweep has looked."""

SWEPT_ENDPOINTS: Final = 500

_MAY_BE_TRIED: Final = """
    enabled AND deleted_at IS NULL
    AND coalesce(leased_until <= now(), true) AND coalesce(probe_at <= now(), true)
"""

_HAS_DUE: Final = """
    EXISTS (
        SELECT FROM deliveries
        WHERE deliveries.endpoint_id = callback_endpoints.id AND deliveries.status = 'pending'
          AND deliveries.next_attempt_at <= now())
"""

ASK: Final = text(f"""
    UPDATE callback_endpoints SET asked_at = now()
    WHERE id = ANY (CAST(:ids AS uuid[])) AND {_MAY_BE_TRIED}
      AND coalesce(asked_at < now() - make_interval(secs => :believed_s), true)
    RETURNING id
""")  # noqa: S608

IS_DUE: Final = text(f"""
    SELECT EXISTS (
        SELECT FROM callback_endpoints
        WHERE id = CAST(:id AS uuid) AND {_MAY_BE_TRIED} AND {_HAS_DUE})
""")  # noqa: S608

# In any order: should there be more than one sweep takes, none is always the last.
DUE: Final = text(f"""
    SELECT id FROM callback_endpoints WHERE {_MAY_BE_TRIED} AND {_HAS_DUE}
    ORDER BY random() LIMIT :limit
""")  # noqa: S608

TAKE: Final = text(f"""
    UPDATE callback_endpoints
    SET leased_until = now() + make_interval(secs => :lease_s), asked_at = NULL
    WHERE id = CAST(:id AS uuid) AND {_MAY_BE_TRIED}
    RETURNING id, client_id, url, failing_since, leased_until, secret, secret_key_id,
        old_secret, old_secret_key_id, old_secret_until,
        extract(epoch FROM now() - failing_since)::float8 AS failing_for_s
""")  # noqa: S608

CLAIM: Final = text("""
    SELECT event_at, xact, ordinal, event_id, CAST(attempts AS text) FROM deliveries
    WHERE endpoint_id = CAST(:id AS uuid) AND status = 'pending' AND next_attempt_at <= now()
    ORDER BY next_attempt_at LIMIT :limit
""")

# What was delivered or given up meanwhile stays so; the lease tells its holder from another.
# The endpoint comes with each delivery, and nothing is asked of the status, so that there is no
# other way to them than one look into an index for each. The arrays come from subqueries, which
# hide from the planner how long they are: it believes the last minutes' rows to be none, and
# would compare each of them with each of hundreds of attempts.
MARK: Final = text("""
    WITH tried AS (
        SELECT CAST(:id AS uuid) AS endpoint_id, * FROM unnest(
            (SELECT CAST(:event_ats AS timestamptz[])), (SELECT CAST(:event_ids AS uuid[])),
            (SELECT CAST(:statuses AS text[])), (SELECT CAST(:waits_s AS float8[])),
            (SELECT CAST(:attempts AS text[]))
        ) AS tried (event_at, event_id, status, wait_s, attempt)
        OFFSET 0
    ), marked AS (
        UPDATE deliveries SET
            attempts = attempts || CAST(tried.attempt AS jsonb),
            status = CASE deliveries.status WHEN 'pending' THEN tried.status
                     ELSE deliveries.status END,
            next_attempt_at = CASE deliveries.status
                WHEN 'pending' THEN now() + make_interval(secs => tried.wait_s)
                ELSE next_attempt_at END,
            delivered_at = CASE WHEN deliveries.status = 'pending' AND tried.status = 'delivered'
                           THEN now() ELSE delivered_at END
        FROM tried
        WHERE deliveries.endpoint_id = tried.endpoint_id
          AND deliveries.event_id = tried.event_id AND deliveries.event_at = tried.event_at
          AND deliveries.event_at
              BETWEEN CAST(:first AS timestamptz) AND CAST(:last AS timestamptz)
    )
    UPDATE callback_endpoints SET
        leased_until = CASE WHEN :release THEN NULL
                       ELSE now() + make_interval(secs => :lease_s) END,
        failing_since = CASE :health WHEN 'failing' THEN coalesce(failing_since, now())
                        WHEN 'unknown' THEN failing_since END,
        probe_at = CASE :health WHEN 'failing' THEN now() + make_interval(secs => :probe_wait_s)
                   WHEN 'unknown' THEN probe_at END,
        enabled = enabled AND NOT :gone,
        disabled_at = CASE WHEN enabled AND :gone THEN now() ELSE disabled_at END,
        disabled_reason = CASE WHEN enabled AND :gone THEN :gone_reason ELSE disabled_reason END
    WHERE id = CAST(:id AS uuid) AND leased_until = CAST(:leased_until AS timestamptz)
    RETURNING leased_until, enabled, url
""")

# The inner LIMIT makes this one look into the index for each row, whatever is believed.
ROWS: Final = text("""
    SELECT found.* FROM unnest(
        CAST(:ats AS timestamptz[]), CAST(:xacts AS bigint[])
    ) AS place (at, xact)
    CROSS JOIN LATERAL (
        SELECT at, xact, client_id, instruction_ids, shows, documents FROM events
        WHERE client_id = :client_id AND xact = place.xact AND at = place.at
          AND at BETWEEN CAST(:first AS timestamptz) AND CAST(:last AS timestamptz)
        LIMIT 1
    ) AS found
""")

# An event that its receiver never takes must not be tried anew whenever another one is taken:
# it has waited at least a quarter of its wait.
CATCH_UP: Final = text("""
    UPDATE deliveries SET next_attempt_at = now()
    WHERE endpoint_id = CAST(:id AS uuid) AND status = 'pending' AND next_attempt_at > now()
      AND now() - CAST(attempts -> -1 ->> 'at' AS timestamptz) >= (next_attempt_at - now()) / 3
""")

GIVE_UP: Final = text("""
    UPDATE deliveries SET status = 'exhausted'
    WHERE endpoint_id = CAST(:id AS uuid) AND status = 'pending'
      AND next_attempt_at < now() - make_interval(secs => :overdue_s)
""")

POSTPONE: Final = text("""
    UPDATE callback_endpoints
    SET leased_until = NULL, probe_at = now() + make_interval(secs => :wait_s)
    WHERE id = CAST(:id AS uuid) AND leased_until = CAST(:leased_until AS timestamptz)
""")

GONE_REASON: Final = "answered 410 Gone"


Place = tuple[datetime, int]
"""Which of a client's rows of `events`: its time and its transaction."""


class Due(NamedTuple):
    """One delivery whose time has come."""

    event_at: datetime
    xact: int
    ordinal: int
    event_id: str
    attempts: str
    """As JSON: of most deliveries nobody reads it."""

    @property
    def place(self) -> Place:
        """The row that its event is in."""
        return self.event_at, self.xact


class Tried(NamedTuple):
    """What came of one delivery: its status from now on, and if pending, the wait until then."""

    due: Due
    status: str
    wait_s: float
    attempt: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Health:
    """What a round of attempts says of an endpoint.

    Without `failing` it is well, unless it is `unknown`: nothing was tried. `probe_wait_s` says
    how long one that fails is left alone; `gone` disables it.
    """

    unknown: bool = False
    failing: bool = False
    probe_wait_s: float = 0.0
    gone: bool = False

    @property
    def stops(self) -> bool:
        """Whether nothing more is sent for now."""
        return self.failing or self.gone


def ask(engine: Engine, endpoint_ids: Collection[str]) -> list[str]:
    """Those of these endpoints that somebody has to be told to deliver to, by the caller.

    That is: they may be tried now, nobody delivers to them, and nobody was told for a moment.
    Ask after the commit of what was added: whoever held a lease until then looks again.
    """
    if not endpoint_ids:
        return []
    with engine.begin() as connection:
        named = {"ids": array(endpoint_ids), "believed_s": ASKED_S}
        return list(connection.scalars(ASK, named))


def due_endpoints(engine: Engine) -> list[str]:
    """Endpoints that may be tried and that nobody delivers to although something is due."""
    with engine.connect() as connection:
        return list(connection.scalars(DUE, {"limit": SWEPT_ENDPOINTS}))


def take_lease(connection: Connection, endpoint_id: str) -> Row[Any] | None:
    """Become the one who delivers to an endpoint for LEASE_S.

    Returns its row, with its secrets as they are stored and `failing_for_s`; None if somebody
    else delivers to it, or nobody may now.
    """
    return connection.execute(TAKE, {"id": endpoint_id, "lease_s": LEASE_S}).one_or_none()


def claim(
    connection: Connection, endpoint_id: str, limit: int, but: Sequence[Due] = ()
) -> list[Due]:
    """What is due for an endpoint, the longest waiting first, but for what is on its way.

    For whoever has its lease.
    """
    # Postgres would spend thirty milliseconds on a plan for a list of what to leave out.
    skipped = {one.event_id for one in but}
    rows = connection.execute(CLAIM, {"id": endpoint_id, "limit": limit + len(skipped)})
    return [due for row in rows if (due := Due(*row)).event_id not in skipped][:limit]


def rows_at(
    connection: Connection, client_id: int, places: Collection[Place]
) -> dict[Place, events.Row]:
    """A client's rows of events at these places; one that is not kept any more is missing."""
    if not places:
        return {}
    named = {
        "client_id": client_id,
        "ats": text_array(at.isoformat() for at, _ in places),
        "xacts": array(xact for _, xact in places),
        "first": min(at for at, _ in places),
        "last": max(at for at, _ in places),
    }
    found = [events.Row(*row) for row in connection.execute(ROWS, named)]
    return {(row.at, row.xact): row for row in found}


def only(row: events.Row, ordinals: Collection[int]) -> events.Row:
    """A row with those of its events alone that have these numbers. They get other numbers."""
    if row.documents is not None:
        documents = [row.documents[ordinal // events.BITS] for ordinal in sorted(ordinals)]
        return row._replace(documents=documents)
    shows: dict[int, int] = defaultdict(int)
    for ordinal in ordinals:
        shows[ordinal // events.BITS] |= 1 << ordinal % events.BITS
    ids = [row.instruction_ids[place] for place in shows]
    return row._replace(instruction_ids=ids, shows=bytes(shows.values()))


def mark(
    connection: Connection,
    lease: Row[Any],
    leased_until: datetime,
    tried: Sequence[Tried],
    health: Health,
    *,
    release: bool,
) -> Row[Any] | None:
    """Note what came of these deliveries; give the lease up or renew it.

    Returns when the lease ends now, and whether the endpoint is `enabled` and its `url`; None
    if the lease had run out and another one has it, or nobody.
    """
    times = [one.due.event_at for one in tried] or [leased_until]
    named = {
        "id": lease.id,
        "leased_until": leased_until,
        "event_ats": text_array(one.due.event_at.isoformat() for one in tried),
        "event_ids": array(one.due.event_id for one in tried),
        "statuses": array(one.status for one in tried),
        "waits_s": array(one.wait_s for one in tried),
        "attempts": text_array(to_json(one.attempt).decode() for one in tried),
        "first": min(times),
        "last": max(times),
        "release": release,
        "lease_s": LEASE_S,
        "health": "unknown" if health.unknown else "failing" if health.failing else "well",
        "probe_wait_s": health.probe_wait_s,
        "gone": health.gone,
        "gone_reason": GONE_REASON,
    }
    return connection.execute(MARK, named).one_or_none()


def catch_up(connection: Connection, endpoint_id: str) -> None:
    """Have what waits for another attempt tried now, because the endpoint answers again."""
    connection.execute(CATCH_UP, {"id": endpoint_id})


def give_up(connection: Connection, endpoint_id: str, overdue_s: float) -> None:
    """End what was due for so long, and could not be tried because the endpoint fails."""
    connection.execute(GIVE_UP, {"id": endpoint_id, "overdue_s": overdue_s})


def postpone(connection: Connection, lease: Row[Any], wait_s: float) -> None:
    """Give the lease up, and leave the endpoint alone for a while."""
    named = {"id": lease.id, "leased_until": lease.leased_until, "wait_s": wait_s}
    connection.execute(POSTPONE, named)


def is_due(connection: Connection, endpoint_id: str) -> bool:
    """Whether an endpoint that nobody delivers to could be delivered to now."""
    return bool(connection.scalar(IS_DUE, {"id": endpoint_id}))

"""From the outbox to those who are to be told: which rows wait, for whom, and what is done."""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from domain.events import CALLBACK_TYPES
from storage.arrays import array, text_array
from storage.events import Row, Written

ROWS_AT_ONCE: Final = 200
"""Rows of events that one transaction hands on at most: after an outage there are thousands of
small ones, and each alone would wait for Postgres and for the broker."""

INSTRUCTIONS_AT_ONCE: Final = 10_000
"""No further row is taken once those taken tell of so many instructions."""

DELIVERIES_AT_ONCE: Final = 20_000
"""No further row is added once those added make so many deliveries: a client may have twenty
endpoints, and what one transaction does for it keeps all others waiting."""

_COLUMNS: Final = "at, xact, client_id, instruction_ids, shows, documents"

# The time bounds which days are looked into.
NAMED_ROWS: Final = text(f"""
    SELECT {_COLUMNS} FROM events
    WHERE pending AND xact = ANY (CAST(:xacts AS bigint[]))
      AND at BETWEEN CAST(:first AS timestamptz) AND CAST(:last AS timestamptz)
    FOR UPDATE SKIP LOCKED
""")  # noqa: S608  # The only text put in is the constant above.

# A row of the future was written by a worker whose clock is ahead: how old it is, nobody knows.
LEFT: Final = text("""
    SELECT at, xact, cardinality(instruction_ids) AS instructions FROM events
    WHERE pending AND (at < now() - make_interval(secs => :older_than_s) OR at > now())
      AND client_id <> ALL (CAST(:but_not AS integer[]))
    ORDER BY xact LIMIT :limit
    FOR UPDATE SKIP LOCKED
""")

HANDED_ON: Final = text("""
    UPDATE events SET pending = false
    FROM unnest(
        CAST(:client_ids AS integer[]), CAST(:xacts AS bigint[]), CAST(:ats AS timestamptz[])
    ) AS done (client_id, xact, at)
    WHERE events.client_id = done.client_id AND events.xact = done.xact AND events.at = done.at
      AND events.at BETWEEN CAST(:first AS timestamptz) AND CAST(:last AS timestamptz)
""")

PARTNERS: Final = text("""
    SELECT partners.client_id, clients.name
    FROM partners JOIN clients ON clients.id = partners.client_id
    WHERE partners.client_id = ANY (CAST(:client_ids AS integer[])) AND removed_at IS NULL
""")

WANTED: Final = text("""
    SELECT id, client_id, events FROM callback_endpoints
    WHERE client_id = ANY (CAST(:client_ids AS integer[])) AND enabled AND deleted_at IS NULL
""")

ADD: Final = text("""
    INSERT INTO deliveries
        (event_at, next_attempt_at, xact, ordinal, endpoint_id, event_id, event_type)
    SELECT event_at, now(), xact, ordinal, endpoint_id, event_id, event_type
    FROM unnest(
        CAST(:ats AS timestamptz[]), CAST(:xacts AS bigint[]), CAST(:ordinals AS integer[]),
        CAST(:endpoint_ids AS uuid[]), CAST(:event_ids AS uuid[]), CAST(:types AS text[])
    ) AS told (event_at, xact, ordinal, endpoint_id, event_id, event_type)
    ON CONFLICT DO NOTHING
""")


def named_rows(connection: Connection, refs: Sequence[Written]) -> list[Row]:
    """Of the rows written by these transactions, those that wait and that nobody else has.

    They are locked until the caller's transaction ends.
    """
    if not refs:
        return []
    times = [ref.at for ref in refs]
    named = {"xacts": array(ref.xact for ref in refs), "first": min(times), "last": max(times)}
    return [Row(*row) for row in connection.execute(NAMED_ROWS, named)]


def left_rows(
    connection: Connection, older_than_s: float, but_not: Collection[int] = ()
) -> list[Row]:
    """Rows that have waited for so long, the oldest first, at once as many as may be; locked.

    Those of the clients in `but_not` are left out.
    """
    named = {"older_than_s": older_than_s, "limit": ROWS_AT_ONCE, "but_not": array(but_not)}
    left = deque(Written(*row) for row in connection.execute(LEFT, named))
    # One transaction may have told several clients, and a row is named by its transaction.
    found = named_rows(connection, taken_at_once(left))
    return [row for row in found if row.client_id not in but_not]


def taken_at_once(waiting: deque[Written]) -> list[Written]:
    """Take from the front what one transaction hands on. Others may be taking, too."""
    refs: list[Written] = []
    instructions = 0
    # Somebody else may take the last one between a look and the taking.
    with suppress(IndexError):
        while len(refs) < ROWS_AT_ONCE and instructions < INSTRUCTIONS_AT_ONCE:
            refs.append(waiting.popleft())
            instructions += refs[-1].instructions
    return refs


def partner_names(connection: Connection, client_ids: Iterable[int]) -> dict[int, str]:
    """Those of these clients that have a queue, with its name."""
    rows = connection.execute(PARTNERS, {"client_ids": array(client_ids)})
    return {row.client_id: row.name for row in rows}


class Added(NamedTuple):
    """The endpoints that have something new, and how many of the rows, from the first on."""

    endpoint_ids: set[str]
    rows: int


def add(connection: Connection, rows: Sequence[Row]) -> Added:
    """Add what these rows tell to the deliveries of the endpoints that want it.

    Repeating it adds nothing. Stops after the row that makes DELIVERIES_AT_ONCE full.
    """
    wanted: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    client_ids = {row.client_id for row in rows}
    for endpoint in connection.execute(WANTED, {"client_ids": array(client_ids)}):
        for type_ in CALLBACK_TYPES:
            if type_ in endpoint.events:
                wanted[endpoint.client_id][type_].append(endpoint.id)
    added: list[tuple[str, int, int, str, str, str]] = []
    taken = 0
    for row in rows:
        if len(added) >= DELIVERIES_AT_ONCE:
            break
        taken += 1
        takers = wanted.get(row.client_id)
        if not takers:
            continue
        at = row.at.isoformat()
        for told in row.told():
            type_ = told.type
            if type_ in takers:
                event_id = told.event_id(row.client_id)
                added += [
                    (at, row.xact, told.ordinal, id_, event_id, type_) for id_ in takers[type_]
                ]
    if added:
        ats, xacts, ordinals, endpoint_ids, event_ids, types = zip(*added, strict=True)
        named = {
            "ats": text_array(ats),
            "xacts": array(xacts),
            "ordinals": array(ordinals),
            "endpoint_ids": array(endpoint_ids),
            "event_ids": array(event_ids),
            "types": text_array(types),
        }
        connection.execute(ADD, named)
    return Added({one[3] for one in added}, taken)


def handed_on(connection: Connection, rows: Sequence[Row]) -> None:
    """Note that nobody waits for these rows any more."""
    if not rows:
        return
    named = {
        "client_ids": array(row.client_id for row in rows),
        "xacts": array(row.xact for row in rows),
        "ats": text_array(row.at.isoformat() for row in rows),
        "first": min(row.at for row in rows),
        "last": max(row.at for row in rows),
    }
    connection.execute(HANDED_ON, named)

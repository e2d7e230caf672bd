"""A client's own events, page by page, to fill gaps."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine, text

from domain.events import Event, EventType, Shows
from storage.events import BITS, Ref, render

ROWS_MOST: Final = 250
"""How many rows a page looks through for events of the types that are asked for."""

_TYPES: Final = tuple(Shows(1 << number).type for number in range(BITS))

# Whatever is below `complete` has ended: no row will ever appear there.
HORIZON: Final = text("""
    SELECT CAST(CAST(pg_snapshot_xmin(taken) AS text) AS bigint) AS complete,
           CAST(CAST(pg_snapshot_xmax(taken) AS text) AS bigint) AS next
    FROM pg_current_snapshot() AS taken
""")

SCAN: Final = text("""
    SELECT at, xact, shows, jsonb_path_query_array(documents, '$[*].type') AS types
    FROM events
    WHERE client_id = :client_id
      AND (xact, at) >= (CAST(:xact AS bigint), CAST(:at AS timestamptz))
      AND xact < CAST(:complete AS bigint)
      AND at >= now() - interval '30 days'
    ORDER BY xact, at LIMIT :rows
""")


class Cursor(NamedTuple):
    """The place of the first event that has not been seen."""

    xact: int
    at: datetime
    ordinal: int


class Page(NamedTuple):
    """Events, oldest first, and where to go on. If that is where it began, there is no more yet."""

    events: list[Event]
    next: Cursor


class CursorAhead(ValueError):
    """A cursor is ahead of everything that this database has written: it is another's."""


_BEGINNING: Final = Cursor(0, datetime(1970, 1, 1, tzinfo=UTC), 0)
_END: Final = 2**31 - 1
"""Beyond the last event of every row."""


def page(
    engine: Engine,
    client_id: int,
    cursor: Cursor | None,
    types: Collection[EventType] | None,
    limit: int,
) -> Page:
    """A client's events of the last 30 days, oldest first, from a cursor on.

    Nothing appears before the cursor of a page once it was given, however long a transaction
    took: events are shown when all transactions that began before theirs have ended. If only
    some types are asked for, a page may be short, or empty, although there is more: it has
    looked through as many rows as one request may.

    Raises: CursorAhead.
    """
    start = cursor or _BEGINNING
    rows_most = limit + 1 if types is None else ROWS_MOST
    with engine.connect() as connection:
        complete, ahead = connection.execute(HORIZON).one()
        if start.xact > ahead:
            raise CursorAhead
        named = {
            "client_id": client_id,
            "xact": start.xact,
            "at": start.at,
            "complete": complete,
            "rows": rows_most,
        }
        rows = connection.execute(SCAN, named).all()
        refs: list[Ref] = []
        following = Cursor(rows[-1].xact, rows[-1].at, _END) if rows else start
        for ref in _matching(rows, start, types):
            if len(refs) == limit:
                following = Cursor(ref.xact, ref.at, ref.ordinal)
                break
            refs.append(ref)
        return Page([event for _, event in render(connection, client_id, refs)], following)


def _matching(
    rows: Sequence[Any], start: Cursor, types: Collection[EventType] | None
) -> Iterator[Ref]:
    """The events of these rows, from `start` on, that are of these types."""
    mask = sum(1 << n for n, type_ in enumerate(_TYPES) if types is None or type_ in types)
    others = bytes(bits for bits in range(256) if not bits & mask)
    for row in rows:
        first = start.ordinal if (row.xact, row.at) == start[:2] else 0
        shows = bytes(row.shows)
        # Asked first, because it is quick, and few rows may have what is asked for.
        if shows.translate(None, others):
            for place, bits in enumerate(shows):
                for number in range(BITS):
                    ordinal = place * BITS + number
                    if bits & mask & 1 << number and ordinal >= first:
                        yield Ref(row.at, row.xact, ordinal)
        for place, type_ in enumerate(row.types or ()):
            if (types is None or type_ in types) and place * BITS >= first:
                yield Ref(row.at, row.xact, place * BITS)

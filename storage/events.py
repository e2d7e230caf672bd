"""The outbox: what is told to clients is written in the transaction that makes it true.

A row is what one transaction tells one client. It names the instructions that were decided and
says with one byte for each what of it is told; the events themselves are made of the append-only
instructions when they are read or sent (`docs/decisions/0060-the-outbox.md`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from domain.books import Answer, Books, Posting
from domain.events import Event, EventType, Shows, instruction_event_id, without_personal_data
from storage.arrays import array, text_array
from storage.prepared import Prepared
from storage.rows import restored_outcome
from storage.shown import SHOWN_INSTRUCTIONS, entry_view, instruction_view

DOCUMENTS_MOST: Final = 100
"""Documents in one row: whoever reads a page looks through all of its rows."""

BITS: Final = 4
"""How many numbers an instruction takes of those that a row gives to its events."""

_SUCCEEDED: Final = Shows.SUCCEEDED.value
_REJECTED: Final = Shows.REJECTED.value
_DEBIT: Final = Shows.DEBIT.value
_CREDIT: Final = Shows.CREDIT.value
_SHOWS: Final = tuple(Shows(1 << number) for number in range(BITS))
_TYPES: Final = tuple(shows.type for shows in _SHOWS)

# Who has an endpoint or a queue waits to be told; everybody else reads when they like.
_IS_WAITING: Final = """
    EXISTS (
        SELECT FROM callback_endpoints
        WHERE callback_endpoints.client_id = told.client_id AND enabled AND deleted_at IS NULL
    ) OR EXISTS (
        SELECT FROM partners
        WHERE partners.client_id = told.client_id AND removed_at IS NULL
    )
"""

WRITE: Final = Prepared(
    "write_events",
    f"""
    INSERT INTO events (at, client_id, pending, instruction_ids, shows)
    SELECT :at, told.client_id, {_IS_WAITING},
           CAST(told.instruction_ids AS uuid[]), decode(told.shows, 'hex')
    FROM unnest(:client_ids, :instruction_ids, :shows) AS told (client_id, instruction_ids, shows)
    RETURNING xact, pending
    """,  # noqa: S608  # The only text put in is the constant above.
    at="timestamptz",
    client_ids="integer[]",
    instruction_ids="text[]",
    shows="text[]",
)

# A row is named by its time too, so those of one transaction are a microsecond apart.
WRITE_DOCUMENTS: Final = Prepared(
    "write_documents",
    f"""
    INSERT INTO events (at, client_id, pending, documents)
    SELECT :at + (told.place - 1) * interval '1 microsecond', told.client_id,
           coalesce(:pending, {_IS_WAITING}), CAST(told.documents AS jsonb)
    FROM (
        SELECT :client_id, documents, place
        FROM unnest(:documents) WITH ORDINALITY AS part (documents, place)
    ) AS told (client_id, documents, place)
    RETURNING xact, pending
    """,  # noqa: S608
    at="timestamptz",
    client_id="integer",
    pending="boolean",
    documents="text[]",
)

# The inner LIMIT makes this one look into the index for each event, whatever is believed.
FIND: Final = text("""
    SELECT ref.ordinal, found.instruction_id, found.document
    FROM unnest(
        CAST(:ats AS timestamptz[]), CAST(:xacts AS bigint[]), CAST(:ordinals AS integer[])
    ) WITH ORDINALITY AS ref (at, xact, ordinal, place)
    CROSS JOIN LATERAL (
        SELECT instruction_ids[ref.ordinal / 4 + 1] AS instruction_id,
               documents -> (ref.ordinal / 4) AS document
        FROM events
        WHERE client_id = :client_id AND xact = ref.xact AND at = ref.at
        LIMIT 1
    ) AS found
    ORDER BY ref.place
""")

INSTRUCTIONS: Final = text(f"""
    {SHOWN_INSTRUCTIONS}
    WHERE instruction.id = ANY (CAST(:ids AS uuid[]))
""")


class Telling(NamedTuple):
    """The rows of events of a posting, each list in the same order, as Postgres reads them."""

    client_ids: str
    instruction_ids: str
    shows: str
    instructions: int
    """Of how many it tells, those told to several counted for each."""


class Written(NamedTuple):
    """What one transaction wrote: all rows of events with the first two, and how much it is."""

    at: datetime
    xact: int
    instructions: int
    """Of how many it tells, those told to several counted for each."""


class Ref(NamedTuple):
    """Where one event is: its row among its client's, and its number in the row."""

    at: datetime
    xact: int
    ordinal: int


class Told(NamedTuple):
    """One event by what it is made of: an instruction and one bit, or else a whole document."""

    ordinal: int
    instruction_id: str | None
    document: dict[str, Any] | None

    @property
    def shows(self) -> Shows:
        """What it shows of its instruction."""
        return _SHOWS[self.ordinal % BITS]

    @property
    def type(self) -> EventType:
        """The type of the event."""
        if self.document is None:
            return _TYPES[self.ordinal % BITS]
        return EventType(self.document["type"])

    def event_id(self, client_id: int) -> str:
        """The id of the event, for the client of its row."""
        if self.document is not None:
            return str(self.document["id"])
        return instruction_event_id(client_id, str(self.instruction_id), self.shows)


class Row(NamedTuple):
    """What one transaction tells one client, as it is stored."""

    at: datetime
    xact: int
    client_id: int
    instruction_ids: Sequence[str]
    shows: bytes
    documents: Sequence[dict[str, Any]] | None

    def told(self) -> Iterator[Told]:
        """Every event of the row, in order."""
        for place, (instruction_id, bits) in enumerate(
            zip(self.instruction_ids, bytes(self.shows), strict=True)
        ):
            for number in range(BITS):
                if bits >> number & 1:
                    yield Told(place * BITS + number, instruction_id, None)
        for place, document in enumerate(self.documents or ()):
            yield Told(place * BITS, None, document)


def telling(books: Books, posting: Posting) -> Telling:
    """What a posting tells, one row for each client; it is whole only when the posting is."""
    told = _told(books, posting)
    return Telling(
        array(told),
        text_array(array(ids) for ids, _ in told.values()),
        text_array(shows.hex() for _, shows in told.values()),
        sum(len(ids) for ids, _ in told.values()),
    )


def write(connection: Connection, told: Telling, at: datetime) -> Written | None:
    """Write what a posting tells, in the transaction that saves it.

    Returns what is to be handed on after the commit; None if nobody waits for it.
    """
    if not told.instructions:
        return None
    written = WRITE.run(
        connection,
        at=at,
        client_ids=told.client_ids,
        instruction_ids=told.instruction_ids,
        shows=told.shows,
    )
    return _waited_for(written.rows, at, told.instructions)


def add_documents(
    connection: Connection,
    client_id: int,
    events: Sequence[Event],
    at: datetime,
    *,
    pending: bool | None = None,
) -> Written | None:
    """Write events that are in no other table, in the caller's transaction.

    A transaction does this once for a client and time. `pending` says whether somebody is to
    be told later; None finds out. Returns what is to be handed on, as `write` does: of more
    than DOCUMENTS_MOST, the first ones; a sweep finds the others.
    """
    documents = [event.document for event in events]
    parts = (
        b"[%b]" % b",".join(documents[start : start + DOCUMENTS_MOST])
        for start in range(0, len(documents), DOCUMENTS_MOST)
    )
    written = WRITE_DOCUMENTS.run(
        connection,
        at=at,
        client_id=client_id,
        pending=pending,
        documents=text_array(part.decode() for part in parts),
    )
    return _waited_for(written.rows, at, len(events))


def _waited_for(written: Iterable[Any], at: datetime, instructions: int) -> Written | None:
    xacts = (xact for xact, pending in written if pending)
    return next((Written(at, xact, instructions) for xact in xacts), None)


def _told(books: Books, posting: Posting) -> dict[int, tuple[list[str], bytearray]]:
    """By client: the instructions of which it is told, and the bits that say what.

    Plain integers and one pass: this runs for every instruction that is decided.
    """
    told: dict[int, tuple[list[str], bytearray]] = defaultdict(lambda: ([], bytearray()))
    wallets, grants, decided = posting.wallets, books.grants, Answer.DECIDED
    for instruction, outcome, answer in posting.decisions:
        if answer is not decided:
            continue
        submitter = instruction.client_id
        bits = {submitter: _SUCCEEDED if outcome.rejection is None else _REJECTED}
        side = _DEBIT
        for entry in outcome.entries:
            wallet = wallets[entry.wallet_id]
            # Most wallets are the submitter's own, and nobody else's to read.
            if wallet.client_id == submitter and wallet.id not in grants:
                if wallet.customer_id is not None:
                    bits[submitter] |= side
            else:
                for client_id in books.readers(wallet):
                    bits[client_id] = bits.get(client_id, 0) | side
            side = _CREDIT
        for client_id, shown in bits.items():
            ids, shows = told[client_id]
            ids.append(outcome.instruction_id)
            shows.append(shown)
    return told


def render(
    connection: Connection, client_id: int, wanted: Sequence[Row] | Sequence[Ref]
) -> list[tuple[int, Event]]:
    """The events of whole rows, or those at some places, each with its number in its row.

    All are one client's, and come in the order asked for. What has been dropped since, after
    its 30 days, is left out. What a result shows of wallets is decided by the rights of now.
    """
    told = [one for row in wanted if isinstance(row, Row) for one in row.told()]
    refs = [ref for ref in wanted if isinstance(ref, Ref)]
    if refs:
        named = {
            "client_id": client_id,
            "ats": array(f'"{ref.at.isoformat()}"' for ref in refs),
            "xacts": array(ref.xact for ref in refs),
            "ordinals": array(ref.ordinal for ref in refs),
        }
        told += [Told(*row) for row in connection.execute(FIND, named)]
    ids = {one.instruction_id for one in told if one.document is None}
    rows = {}
    if ids:
        named = {"client_id": client_id, "ids": array(ids)}
        rows = {row.id: row for row in connection.execute(INSTRUCTIONS, named)}
    return [(one.ordinal, _event(one, client_id, rows)) for one in told]


def _event(told: Told, client_id: int, rows: dict[Any, Any]) -> Event:
    if told.document is not None:
        document = told.document
        return Event(document["id"], told.type, document["timestamp"], document["data"])
    row = rows[told.instruction_id]
    if told.type is not EventType.ENTRY_POSTED:
        data = without_personal_data(instruction_view(row))
        decided_at = data["decided_at"]
    else:
        debit, credit = restored_outcome(row).entries
        entry, other = (debit, credit) if told.shows is Shows.DEBIT else (credit, debit)
        shown = entry_view(row, entry, other.wallet_id, client_id)
        data = {"wallet_id": entry.wallet_id, **shown}
        decided_at = shown["posted_at"]
    return Event(told.event_id(client_id), told.type, decided_at, data)

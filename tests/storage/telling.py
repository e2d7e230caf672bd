"""Short words for what clients are told, for tests about events."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, text

from domain.events import Event, EventType
from storage import feed
from storage.ledger import Decided
from tests.storage.conftest import Books


def decide_now(books: Books, *instructions: Any, partition: int = 0) -> Decided:
    """Decide by the clock on the wall, as workers do: old events are not shown."""
    return books.ledger.decide(partition, instructions, lambda: datetime.now(UTC))


def feed_of(
    engine: Engine,
    client_id: int,
    types: Collection[EventType] | None = None,
    limit: int = 200,
    cursor: feed.Cursor | None = None,
) -> tuple[list[Event], feed.Cursor]:
    """All events of a client from a cursor on, and the last cursor."""
    found: list[Event] = []
    while True:
        page = feed.page(engine, client_id, cursor, types, limit)
        found += page.events
        if page.next == cursor:
            return found, page.next
        cursor = page.next


def told(books: Books, client_id: int, *keys: object) -> list[tuple[str, str]]:
    """What a client was told, as (key of the instruction, type), of these keys or of all."""
    key_of = {row[0]: row[1] for row in books.rows("SELECT id, idempotency_key FROM instructions")}
    events, _ = feed_of(books.engine, client_id)
    named = [
        (str(key_of[event.data.get("instruction_id") or event.data["id"]]), event.type.value)
        for event in events
    ]
    wanted = {str(key) for key in keys}
    return [pair for pair in named if not keys or pair[0] in wanted]


def add_endpoint(engine: Engine, client_id: int, *, enabled: bool = True, deleted: bool = False):
    """An endpoint as far as the outbox looks at it; returns its id."""
    with engine.begin() as connection:
        return connection.scalar(
            text("""
                INSERT INTO callback_endpoints
                    (id, client_id, url, events, enabled, disabled_at, deleted_at,
                     secret, secret_key_id)
                VALUES (gen_random_uuid(), :client_id, 'https://example.com/', '{}', :enabled,
                        CASE WHEN :enabled THEN NULL ELSE now() END,
                        CASE WHEN :deleted THEN now() END, '', 'none')
                RETURNING id
            """),
            {"client_id": client_id, "enabled": enabled, "deleted": deleted},
        )


def pending_rows(books: Books) -> Sequence[tuple[object, ...]]:
    """The rows of the outbox that somebody waits for, oldest first."""
    return books.rows("SELECT at, xact, client_id FROM events WHERE pending ORDER BY xact")

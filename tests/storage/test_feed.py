"""A client's own events, page by page: in one order, without gaps, from any cursor on."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from domain.events import Event, EventType
from domain.identity import derived_id
from storage import events, feed
from storage.engine import operator_engine
from storage.feed import CursorAhead
from tests.bookkeeping import CLIENT, NOW, OTHER_CLIENT, deposit, transfer
from tests.storage.conftest import Books
from tests.storage.telling import decide_now, feed_of

DAY = timedelta(days=1)


def document(key: object, type_: EventType = EventType.REFUSED) -> Event:
    return Event(derived_id("test", key), type_, "2026-11-24T00:00:00.000Z", {"key": str(key)})


def tell(connection: Connection, *keys: object, at: datetime | None = None) -> None:
    told = [document(key) for key in keys]
    events.add_documents(connection, CLIENT, told, at or datetime.now(UTC))


def keys_of(found: list[Event]) -> list[str]:
    return [event.data["key"] for event in found]


def test_nothing_is_seen_before_its_commit_and_nothing_after_it_is_missed(books: Books):
    slow, quick = books.engine.connect(), operator_engine(books.settings)
    tell(slow, "slow")
    with quick.begin() as connection:
        tell(connection, "quick")

    early = feed.page(books.engine, CLIENT, None, None, 10)
    slow.commit()
    late = feed.page(books.engine, CLIENT, early.next, None, 10)

    assert early.events == [], "what is complete is not known before the slow one ends"
    assert keys_of(late.events) == ["slow", "quick"]
    slow.close()
    quick.dispose()


def test_a_transaction_that_is_rolled_back_holds_nothing_up_and_leaves_nothing(books: Books):
    slow = books.engine.connect()
    tell(slow, "never")
    slow.rollback()
    slow.close()
    with books.engine.begin() as connection:
        tell(connection, "after")

    assert keys_of(feed_of(books.engine, CLIENT)[0]) == ["after"]


def test_many_events_of_one_transaction_are_several_rows_and_come_in_their_order(books: Books):
    count = 2 * events.DOCUMENTS_MOST + 1
    with books.engine.begin() as connection:
        tell(connection, *range(count))

    assert len(books.rows("SELECT 1 FROM events")) == 3
    assert keys_of(feed_of(books.engine, CLIENT)[0]) == [str(key) for key in range(count)]


def test_a_reader_who_never_stops_sees_everything_once_whoever_commits_when(
    books: Books, operator: Engine
):
    writers, each = 4, 40
    done = threading.Event()

    def write(number: int) -> None:
        engine = operator_engine(books.settings)
        for count in range(each):
            with engine.begin() as connection:
                tell(connection, f"{number}-{count}", f"{number}-{count}b")
                # They end in another order than they begin: that is what is tested.
                time.sleep(0.003 * ((number * 7 + count) % 4))
        engine.dispose()

    def read() -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            over = done.is_set()
            page = feed.page(operator, CLIENT, cursor, None, 3)
            found += keys_of(page.events)
            if over and page.next == cursor:
                return found
            cursor = page.next

    with ThreadPoolExecutor(writers + 1) as pool:
        reading = pool.submit(read)
        for writing in [pool.submit(write, number) for number in range(writers)]:
            writing.result()
        done.set()
        seen = reading.result()

    assert len(seen) == len(set(seen)) == 2 * writers * each
    assert seen == keys_of(feed_of(books.engine, CLIENT)[0])


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
def test_pages_of_every_size_show_the_same_in_the_same_order(books: Books, limit: int):
    books.open("ann", "ben")
    for batch in range(3):
        decide_now(books, *(transfer(f"{batch}-{n}", "ann", "ben", 1) for n in range(4)))
        with books.engine.begin() as connection:
            tell(connection, batch, f"{batch}b")
    whole, _ = feed_of(books.engine, CLIENT)

    found, _ = feed_of(books.engine, CLIENT, limit=limit)

    assert found == whole
    assert len({event.id for event in whole}) == len(whole) >= 3 * (4 * 3 + 2)


def test_only_the_types_that_are_asked_for_are_shown(books: Books):
    books.open("ann", "ben")
    decide_now(books, transfer(1, "ann", "ben", 1), transfer(2, "ann", "ben", 10**6))
    with books.engine.begin() as connection:
        tell(connection, "document")
    whole, _ = feed_of(books.engine, CLIENT)

    for type_ in EventType:
        found, _ = feed_of(books.engine, CLIENT, [type_], limit=2)
        assert found == [event for event in whole if event.type is type_]
    two = [EventType.REJECTED, EventType.REFUSED]
    assert feed_of(books.engine, CLIENT, two)[0] == [e for e in whole if e.type in two]


def test_a_rare_type_costs_several_short_pages_and_is_found(
    books: Books, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(feed, "ROWS_MOST", 3)
    books.open("ann", "ben")
    for number in range(7):
        decide_now(books, transfer(number, "ann", "ben", 1))
    with books.engine.begin() as connection:
        tell(connection, "rare")

    first = feed.page(books.engine, CLIENT, None, [EventType.REFUSED], 50)
    found, _ = feed_of(books.engine, CLIENT, [EventType.REFUSED], cursor=first.next)

    assert first.events == []
    assert keys_of(found) == ["rare"]


def test_the_cursor_of_an_empty_page_goes_on_with_what_comes_later(books: Books):
    empty = feed.page(books.engine, CLIENT, None, None, 10)
    again = feed.page(books.engine, CLIENT, empty.next, None, 10)
    books.open("theirs", client_id=OTHER_CLIENT)
    with books.engine.begin() as connection:
        tell(connection, "later")

    assert empty.events == again.events == []
    assert keys_of(feed.page(books.engine, CLIENT, empty.next, None, 10).events) == ["later"]
    assert keys_of(feed.page(books.engine, CLIENT, again.next, None, 10).events) == ["later"]


def test_a_cursor_of_another_database_is_refused_rather_than_waited_for(books: Books):
    _, end = feed_of(books.engine, CLIENT)

    with pytest.raises(CursorAhead):
        feed.page(books.engine, CLIENT, end._replace(xact=end.xact + 10**6), None, 10)


def test_another_clients_events_are_not_there(books: Books):
    books.open("theirs", client_id=OTHER_CLIENT)
    decide_now(books, deposit(1, "theirs", 1, client_id=OTHER_CLIENT))

    assert feed_of(books.engine, CLIENT)[0] == []
    assert feed_of(books.engine, OTHER_CLIENT)[0] != []


def test_what_is_older_than_30_days_is_not_shown(books: Books):
    now = datetime.now(UTC)
    with books.engine.begin() as connection:
        tell(connection, "old", at=now - 30 * DAY - timedelta(minutes=1))
        tell(connection, "young", at=now - 30 * DAY + timedelta(minutes=1))

    assert keys_of(feed_of(books.engine, CLIENT)[0]) == ["young"]


def roll(operator: Engine, today: date) -> None:
    with operator.begin() as connection:
        connection.execute(text("SELECT roll_days(CAST(:today AS date))"), {"today": today})


def partitions_of_events(books: Books) -> set[str]:
    found = books.rows(
        "SELECT right(relname, 8) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = CAST('events' AS regclass)"
    )
    return {str(row[0]) for row in found}


def named(*days: date) -> set[str]:
    return {"_default", *(f"{day:%Y%m%d}" for day in days)}


def test_a_new_database_has_partitions_for_today_and_a_week(books: Books):
    today = datetime.now(UTC).date()

    assert partitions_of_events(books) >= named(*(today + n * DAY for n in range(7)))


def test_days_are_made_ahead_and_dropped_when_they_are_over(books: Books, operator: Engine):
    start = datetime.now(UTC).date()
    with books.engine.begin() as connection:
        tell(connection, "today")

    roll(operator, start + 30 * DAY)
    assert keys_of(feed_of(books.engine, CLIENT)[0]) == ["today"]
    roll(operator, start + 31 * DAY)
    roll(operator, start + 31 * DAY)

    found = partitions_of_events(books)
    assert found >= named(*(start + n * DAY for n in (*range(1, 7), *range(30, 39))))
    assert min(found) > f"{start:%Y%m%d}"
    assert feed_of(books.engine, CLIENT)[0] == []


def test_events_of_a_day_without_a_partition_are_kept_shown_and_dropped_all_the_same(
    books: Books, operator: Engine
):
    today = datetime.now(UTC).date()
    stray = today + 10 * DAY
    at = datetime.combine(stray, NOW.timetz())
    with books.engine.begin() as connection:
        tell(connection, "stray", at=at)

    roll(operator, stray)
    with books.engine.begin() as connection:
        tell(connection, "another", at=at + timedelta(seconds=1))
        tell(connection, "next day", at=at + DAY)

    assert f"{stray:%Y%m%d}" not in partitions_of_events(books), "it would not take the stray"
    assert f"{stray + DAY:%Y%m%d}" in partitions_of_events(books)
    shown = keys_of(feed_of(books.engine, CLIENT)[0])
    assert shown == ["stray", "another", "next day"]
    roll(operator, stray + 30 * DAY)
    assert books.rows("SELECT count(*) FROM ONLY events_default") == [(2,)]
    roll(operator, stray + 31 * DAY)
    assert books.rows("SELECT count(*) FROM events_default") == [(0,)]
    assert keys_of(feed_of(books.engine, CLIENT)[0]) == ["next day"]

"""Messages that wait for an operator."""

import pytest

from storage import parked
from storage.parked import NotParked
from tests.bookkeeping import NOW
from tests.storage.conftest import Books


def park(books: Books, body: bytes = b"\x00\xffnonsense", partition: int = 1) -> bool:
    headers = {"content_type": "application/json"}
    return parked.park(books.engine, partition, body, headers, "it does not parse", None, NOW)


def test_a_message_is_kept_once_with_its_bytes_and_reason(books: Books):
    assert [park(books), park(books), park(books, partition=2)] == [True, False, True]

    first, _ = parked.list_unresolved(books.engine)
    assert (first.body, first.reason) == (b"\x00\xffnonsense", "it does not parse")
    assert first.headers == {"content_type": "application/json"}
    assert parked.count_unresolved(books.engine) == 2


def test_a_message_is_resolved_once_and_may_then_be_parked_again(books: Books):
    park(books)
    (message,) = parked.list_unresolved(books.engine)
    with books.engine.begin() as connection:
        parked.resolve(connection, message.id, "discarded", who="me", reason="noise")

    assert parked.list_unresolved(books.engine) == []
    assert parked.find(books.engine, message.id).resolution == "discarded"
    with pytest.raises(NotParked), books.engine.begin() as connection:
        parked.resolve(connection, message.id, "retried", who="me", reason="again")
    assert park(books)


def test_an_unknown_message_is_said_to_be_unknown(books: Books):
    with pytest.raises(NotParked):
        parked.find(books.engine, 4711)

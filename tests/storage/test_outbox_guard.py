"""Who is to be told is written with what they are told of, or neither is."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tests.bookkeeping import open_customer
from tests.storage.conftest import Books


def test_what_nobody_could_be_told_of_is_not_decided(books: Books) -> None:
    with books.engine.begin() as connection:
        connection.execute(text("ALTER TABLE events RENAME TO events_elsewhere"))

    with pytest.raises(SQLAlchemyError):
        books.decide(open_customer("k1", "Ama"))

    with books.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM instructions")) == 0

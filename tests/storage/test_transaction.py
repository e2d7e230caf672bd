"""A transaction that begins with its first statement."""

import psycopg2
import pytest
from sqlalchemy import Connection, Engine, text

from storage.faults import Fault, classify
from storage.prepared import Prepared
from storage.transaction import NotCommitted, begun_with
from tests.support import overheard

ADD = Prepared(
    "add_seen", "INSERT INTO seen VALUES (:number) RETURNING number + 1", number="integer"
)


@pytest.fixture
def engine(operator: Engine) -> Engine:
    with operator.begin() as connection:
        connection.execute(text("CREATE TABLE seen (number integer PRIMARY KEY)"))
    return operator


def seen(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT number FROM seen ORDER BY number")))


def insert(connection: Connection, number: int) -> None:
    connection.execute(text("INSERT INTO seen VALUES (:number)"), {"number": number})


def test_all_of_the_block_is_committed_together(engine: Engine):
    with begun_with(engine, ADD, number=1) as (connection, ran):
        assert ran.rows == [(2,)]
        insert(connection, 2)
        with engine.connect() as other:
            assert list(other.scalars(text("SELECT number FROM seen"))) == []

    assert seen(engine) == [1, 2]


def test_what_is_raised_in_the_block_undoes_its_first_statement_too(engine: Engine):
    def both() -> None:
        with begun_with(engine, ADD, number=1) as (connection, _):
            insert(connection, 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        both()

    assert seen(engine) == []


def test_a_first_statement_that_fails_leaves_nothing_open(engine: Engine):
    with begun_with(engine, ADD, number=1):
        pass

    for _ in range(2):
        with pytest.raises(psycopg2.errors.UniqueViolation), begun_with(engine, ADD, number=1):
            pass
    with begun_with(engine, ADD, number=2):
        pass

    assert seen(engine) == [1, 2]


def test_a_fault_that_the_block_keeps_to_itself_is_no_commit(engine: Engine):
    with (
        pytest.raises(NotCommitted, match="ROLLBACK"),
        begun_with(engine, ADD, number=1) as (connection, _),
        pytest.raises(psycopg2.errors.UniqueViolation),
    ):
        ADD.run(connection, number=1)

    assert seen(engine) == []


def test_afterwards_the_connection_begins_transactions_as_before(engine: Engine):
    with begun_with(engine, ADD, number=1):
        pass
    with engine.connect() as connection:
        insert(connection, 2)
        connection.rollback()

    assert seen(engine) == [1]


def test_a_connection_that_is_lost_is_not_used_again(engine: Engine):
    def cut_off() -> None:
        with begun_with(engine, ADD, number=1) as (mine, _):
            with engine.connect() as other:
                pid = mine.scalar(text("SELECT pg_backend_pid()"))
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            ADD.run(mine, number=2)

    with pytest.raises(psycopg2.Error) as lost:
        cut_off()

    assert classify(lost.value) is Fault.TRANSIENT
    with begun_with(engine, ADD, number=3):
        pass
    assert seen(engine) == [3]


def test_what_was_prepared_in_vain_is_prepared_anew_for_the_next_one(engine: Engine):
    with begun_with(engine, ADD, number=1) as (connection, _):
        connection.execute(text("DEALLOCATE ALL"))

    with pytest.raises(psycopg2.Error) as stale, begun_with(engine, ADD, number=2):
        pass
    assert classify(stale.value) is Fault.TRANSIENT
    with begun_with(engine, ADD, number=3):
        pass

    assert seen(engine) == [1, 3]


def test_the_beginning_takes_no_message_of_its_own(engine: Engine):
    said = overheard(engine)
    with begun_with(engine, ADD, number=1):
        pass
    said.clear()
    with begun_with(engine, ADD, number=2):
        pass

    assert said == ["BEGIN; EXECUTE add_seen", "COMMIT"]

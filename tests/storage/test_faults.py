"""What to do about a fault, by what Postgres really raises."""

import psycopg2
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from ops.stack.services import Services
from storage.engine import read_engine
from storage.faults import Fault, classify, sqlstate
from tests.storage.conftest import Books
from tests.support import settings_for


def raised_by(books: Books, statement: str) -> BaseException:
    with pytest.raises(Exception) as caught, books.engine.begin() as connection:  # noqa: PT011
        connection.execute(text(statement))
    return caught.value


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("INSERT INTO partitions (id) VALUES (1)", Fault.RELOAD),
        ("SET LOCAL statement_timeout = 10; SELECT pg_sleep(1)", Fault.TRANSIENT),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Fault.TRANSIENT),
        ("SELECT * FROM there_is_no_such_table", Fault.TRANSIENT),
        ("SET TRANSACTION READ ONLY; DELETE FROM openings", Fault.TRANSIENT),
        ("SELECT 1 / 0", Fault.DETERMINISTIC),
        ("INSERT INTO partitions (id) VALUES (NULL)", Fault.DETERMINISTIC),
        ("UPDATE partitions SET id = 99999", Fault.DETERMINISTIC),
    ],
)
def test_a_fault_of_postgres_is_classed_by_its_state(books: Books, statement: str, fault: Fault):
    assert classify(raised_by(books, statement)) is fault


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ("40P01", Fault.RELOAD),
        ("40001", Fault.RELOAD),
        ("55P03", Fault.TRANSIENT),
        ("25P03", Fault.TRANSIENT),
        ("53300", Fault.TRANSIENT),
        ("53100", Fault.TRANSIENT),
        ("57P01", Fault.TRANSIENT),
        ("08006", Fault.TRANSIENT),
        ("23514", Fault.DETERMINISTIC),
        ("22003", Fault.DETERMINISTIC),
        ("XX000", Fault.DETERMINISTIC),
    ],
)
def test_states_that_are_hard_to_bring_about_are_in_the_table(
    books: Books, state: str, fault: Fault
):
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$"

    error = raised_by(books, statement)

    assert sqlstate(error) == state
    assert classify(error) is fault


def test_a_postgres_that_is_not_there_is_transient(services: Services):
    engine = create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/nothing")

    with pytest.raises(OperationalError) as caught:
        engine.connect()

    assert classify(caught.value) is Fault.TRANSIENT


def test_a_database_that_is_not_there_yet_is_transient(services: Services):
    engine = read_engine(settings_for(services, "not_made_yet"))

    with pytest.raises(OperationalError) as caught:
        engine.connect()

    assert classify(caught.value) is Fault.TRANSIENT


def test_a_bug_is_not_transient():
    assert classify(KeyError("x")) is Fault.DETERMINISTIC
    assert classify(psycopg2.ProgrammingError("no such thing")) is Fault.DETERMINISTIC
    assert classify(psycopg2.InterfaceError("cursor already closed")) is Fault.TRANSIENT


def test_no_error_shows_the_parameters_of_its_statement(books: Books):
    with pytest.raises(Exception) as caught, books.engine.begin() as connection:  # noqa: PT011
        connection.execute(text("SELECT CAST(:name AS integer)"), {"name": "Ann Secret"})

    assert "[parameters" not in str(caught.value).replace("hidden", "")

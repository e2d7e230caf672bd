"""Statements that a connection plans once."""

import psycopg2
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from storage.faults import Fault, classify
from storage.prepared import Prepared

ADD = Prepared("add", "SELECT :left + :right, :left || ''", right="integer", left="integer")


def prepared_in(connection: Connection) -> list[str]:
    return list(connection.scalars(text("SELECT name FROM pg_prepared_statements")))


def test_it_is_planned_once_for_a_connection_whatever_becomes_of_the_transaction(
    operator: Engine,
):
    with operator.connect() as connection:
        assert prepared_in(connection) == []
        assert ADD.run(connection, left=1, right=2).rows[0] == (3, "1")
        connection.rollback()

        assert prepared_in(connection) == ["add"]
        assert ADD.run(connection, left=4, right=5).rows[0] == (9, "4")


def test_another_connection_plans_it_for_itself(operator: Engine):
    with operator.connect() as first, operator.connect() as second:
        assert ADD.run(first, left=1, right=2).rows == [(3, "1")]
        assert prepared_in(second) == []
        assert ADD.run(second, left=1, right=2).rows == [(3, "1")]

        first.invalidate()
        first.rollback()
        assert ADD.run(first, left=1, right=2).rows == [(3, "1")]


def test_a_plan_that_is_of_no_use_any_more_is_made_anew_on_another_connection(operator: Engine):
    everything = Prepared("everything", "SELECT * FROM migrated WHERE id = :id", id="integer")
    with operator.connect() as connection:
        connection.execute(text("CREATE TABLE migrated (id integer)"))
        everything.run(connection, id=1)
        connection.commit()
        connection.execute(text("ALTER TABLE migrated ADD COLUMN more text"))
        connection.commit()

        for _ in range(2):
            with pytest.raises(psycopg2.Error) as stale:
                everything.run(connection, id=1)
            assert classify(stale.value) is Fault.TRANSIENT
            connection.rollback()
            assert everything.run(connection, id=1).rows == []
            connection.execute(text("DEALLOCATE ALL"))
            connection.commit()


def test_what_could_not_be_planned_is_tried_again(operator: Engine):
    count = Prepared("count", "SELECT count(*) FROM not_there WHERE id = :id", id="integer")
    with operator.connect() as connection:
        with pytest.raises(ProgrammingError):
            count.run(connection, id=1)
        connection.rollback()
        connection.execute(text("CREATE TEMPORARY TABLE not_there (id integer)"))

        assert count.run(connection, id=1).rows == [(0,)]

"""Whatever becomes of a connection to Postgres while something is read."""

import psycopg2
import pytest
from sqlalchemy import Engine, text

from api.problems import Problem
from api.reading import Reading
from ops.stack.services import Services
from storage.deadline import bound_waits_for_postgres
from storage.engine import read_engine
from tests.support import settings_for


def test_a_slow_look_up_does_not_pass_for_a_postgres_that_is_away(services: Services) -> None:
    """Whoever asks for much gets 503, and nobody else does."""
    engine = read_engine(settings_for(services))
    bound_waits_for_postgres()
    try:
        reading = Reading(engine)
        with pytest.raises(Problem) as caught:
            reading(lambda e: e.connect().execute(text("SELECT pg_sleep(5)")))

        assert caught.value.code == "temporarily_unavailable"
        assert reading(lambda e: e.connect().scalar(text("SELECT 7"))) == 7
    finally:
        psycopg2.extensions.set_wait_callback(None)
        engine.dispose()


def test_the_drivers_own_error_of_a_lost_connection_is_answered_with_503(
    services: Services,
) -> None:
    """Found by the torture: it came through where a connection was given back to its pool."""
    engine = read_engine(settings_for(services))

    def lost(_: Engine) -> None:
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    with pytest.raises(Problem) as caught:
        Reading(engine)(lost)

    assert caught.value.code == "temporarily_unavailable"
    engine.dispose()

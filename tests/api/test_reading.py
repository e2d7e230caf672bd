"""Whatever becomes of a connection to Postgres while something is read."""

import psycopg2
import pytest
from sqlalchemy import Engine

from api.problems import Problem
from api.reading import Reading
from ops.stack.services import Services
from storage.engine import read_engine
from tests.support import settings_for


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

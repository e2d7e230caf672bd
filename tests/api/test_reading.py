"""Whatever becomes of a connection to Postgres while something is read."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from api.problems import Problem
from api.reading import Reading
from ops.stack.services import Services
from storage.engine import operator_engine, read_engine
from tests.support import settings_for


@pytest.fixture
def engines(services: Services) -> Iterator[tuple[Engine, Engine]]:
    """One that reads, and an operator's."""
    settings = settings_for(services)
    made = read_engine(settings), operator_engine(settings)
    yield made
    for engine in made:
        engine.dispose()


def test_a_connection_that_is_lost_as_it_is_given_back_is_answered_with_503(
    engines: tuple[Engine, Engine],
) -> None:
    """Found by the torture: the driver's own error came through, as a defect of ours."""
    reading, operator = engines

    def lost(engine: Engine) -> None:
        with engine.connect() as connection, operator.connect() as other:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    with pytest.raises(Problem) as caught:
        Reading(reading)(lost)

    assert caught.value.code == "temporarily_unavailable"

"""What goes wrong in the database, in an operator's words."""

import pytest

from config.settings import Settings
from ops.database import database
from ops.errors import OperatorError
from ops.stack.services import Services
from storage.prepared import Prepared
from tests.support import settings_for

DIVIDED = Prepared("divided", "SELECT 1 / :by", by="integer")


@pytest.fixture
def settings(services: Services) -> Settings:
    return settings_for(services)


def test_a_fault_of_a_statement_on_the_drivers_cursor_is_told_like_any_other(settings: Settings):
    """A rejection of a parked message runs the ledger's statements, which are such."""
    with (
        pytest.raises(OperatorError, match=r"Postgres refused \(22012\)") as told,
        database(settings) as engine,
        engine.connect() as connection,
    ):
        DIVIDED.run(connection, by=0)

    assert told.value.__cause__ is None

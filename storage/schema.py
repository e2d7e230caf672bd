"""Bring a database to the schema of this release."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

from storage import partitions

ROLL_DAYS: Final = text("SELECT roll_days()")

_LOCK: Final = 0x74656B61
"""Any number that nothing else locks: two processes that migrate at once take turns."""


def migrate(engine: Engine, partition_count: int) -> None:
    """Apply the steps that are missing, then hold the database to its partition count.

    The days of events that are about to come get their partitions too.

    Raises: PartitionCountMismatch if the database was made with another count.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        partitions.create(connection, partition_count)
        partitions.check(connection, partition_count)
        roll_days(connection)


def roll_days(connection: Connection) -> None:
    """Make the partitions of the days that come, and drop those whose 30 days are over."""
    connection.execute(ROLL_DAYS)

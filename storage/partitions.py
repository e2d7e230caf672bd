"""The partitions that a database was made with, and whether each is paused."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, func, insert, select, update

from storage import audit
from storage.tables import partitions


class PartitionCountMismatch(Exception):
    """A process was started with another partition count than the database was made with."""

    def __init__(self, made_with: int, started_with: int) -> None:
        super().__init__(
            f"the database has {made_with} partitions, TEKANA_PARTITIONS says {started_with}: "
            "the count is fixed when the database is made"
        )


class NoSuchPartition(LookupError):
    """There is no partition with this number."""


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition: how many instructions it has decided, and who paused it, when and why."""

    id: int
    position: int
    paused_at: datetime | None
    pause_who: str | None
    pause_reason: str | None


def create(connection: Connection, count: int) -> None:
    """Make the partitions of a new database; one that has partitions is left as it is."""
    if connection.scalar(select(func.count()).select_from(partitions)) == 0:
        connection.execute(insert(partitions), [{"id": number} for number in range(count)])


def check(connection: Connection, count: int) -> None:
    """Raises: PartitionCountMismatch unless the database has exactly this many partitions."""
    made_with = connection.scalar(select(func.count()).select_from(partitions)) or 0
    if made_with != count:
        raise PartitionCountMismatch(made_with, count)


def states(engine: Engine) -> list[PartitionState]:
    """Every partition, in order."""
    with engine.connect() as connection:
        rows = connection.execute(select(partitions).order_by(partitions.c.id))
        return [PartitionState(**row._mapping) for row in rows]


def is_paused(engine: Engine, partition: int) -> bool:
    """Whether an operator has paused the partition."""
    with engine.connect() as connection:
        statement = select(partitions.c.paused_at).where(partitions.c.id == partition)
        return connection.scalar(statement) is not None


def pause(engine: Engine, partition: int, who: str, reason: str) -> bool:
    """Stop deciding the partition's instructions, on whichever worker is active.

    Returns whether that changed anything. A batch that is being decided is finished first,
    because it holds the partition's row.

    Raises: NoSuchPartition.
    """
    return _set(engine, partition, who, reason, paused=True)


def resume(engine: Engine, partition: int, who: str, reason: str) -> bool:
    """Go on after a pause. Returns whether that changed anything.

    Raises: NoSuchPartition.
    """
    return _set(engine, partition, who, reason, paused=False)


def _set(engine: Engine, partition: int, who: str, reason: str, *, paused: bool) -> bool:
    row = partitions.c
    with engine.begin() as connection:
        if connection.scalar(select(row.id).where(row.id == partition)) is None:
            raise NoSuchPartition(partition)
        changed = connection.execute(
            update(partitions)
            .where(row.id == partition, row.paused_at.is_(None) == paused)
            .values(
                paused_at=func.now() if paused else None,
                pause_who=who if paused else None,
                pause_reason=reason if paused else None,
            )
        )
        if changed.rowcount:
            action = "partition.pause" if paused else "partition.resume"
            audit.record(connection, who, action, str(partition), reason)
        return changed.rowcount == 1

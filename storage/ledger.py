"""One batch of one partition, in one transaction: load, decide, save, commit."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg2.errors import UniqueViolation
from sqlalchemy import Connection, Engine

from domain.books import Books, Decision, Posting
from domain.identity import partition_of
from domain.instructions import Instruction
from domain.posting import Deciding, deciding, reject
from domain.views import outcome_view
from storage import books as stored_books
from storage import events, partitions
from storage.prepared import Prepared
from storage.repeats import Repeats
from storage.settlements import Settlements
from storage.transaction import begun_with

_LOCK_SPACE: Final = 0x7465
"""First half of the key of a partition's advisory lock; the second is its number."""

# The broker gives a partition one consumer at a time, as a courtesy. This is the law: two
# workers that both believe to be the one take turns, and the later finds what the earlier did.
TAKE_PARTITION: Final = Prepared(
    "take_partition",
    """
    SELECT position, paused_at
    FROM pg_advisory_xact_lock(:space, :partition), partitions
    WHERE id = :partition
    FOR UPDATE OF partitions
    """,
    space="integer",
    partition="integer",
)


class _Taken(NamedTuple):
    """A partition that is locked: the place of its last instruction, and since when it rests."""

    position: int
    paused_at: datetime | None


class Paused(Exception):
    """An operator has paused the partition: nothing was decided."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A batch whose outcomes are committed."""

    books: Books
    posting: Posting
    pending: events.Written | None
    """The events that are to be handed on to those who wait for them, if anybody does."""

    def views(self) -> Iterator[tuple[Decision, dict[str, Any]]]:
        """Each outcome that is new, as its submitter sees it, in order."""
        for decision in self.posting.decided():
            yield decision, self.view(decision)

    def view(self, decision: Decision) -> dict[str, Any]:
        """One outcome as its submitter sees it."""
        client_id = decision.instruction.client_id

        def may_read(wallet_id: str) -> bool:
            wallet = self.posting.wallets.get(wallet_id) or self.books.wallets.get(wallet_id)
            if wallet is None or wallet.customer_id is None:
                return False
            return self.books.may_use(client_id, wallet)

        return outcome_view(decision.instruction, decision.outcome, may_read)


class Ledger:
    """The books of one database, for one worker."""

    def __init__(self, engine: Engine, partition_count: int) -> None:
        self._engine = engine
        self._partition_count = partition_count
        self._settlements = Settlements(engine)
        self._repeats = Repeats()

    def check_partitions(self) -> None:
        """Raises: PartitionCountMismatch if the database was made with another count."""
        with self._engine.connect() as connection:
            partitions.check(connection, self._partition_count)

    def decide(
        self, partition: int, instructions: Sequence[Instruction], clock: Callable[[], datetime]
    ) -> Decided:
        """Give each instruction its outcome, in order; committed on return.

        Repeating a batch, whole or in part, whatever became of it before, is safe: what has
        an outcome keeps it. The clock is read after the locks are held, so times follow the
        partition's order.

        Raises: Paused; the driver's errors, which `storage.faults.classify` puts in order;
        LedgerFault if the books cannot be right.
        """
        look = self._repeats.expected
        try:
            decided = self._decide(partition, instructions, clock, repeats=look)
        except UniqueViolation:
            # Another partition may have been first all the same; that is for the caller.
            if look:
                raise
            decided = self._decide(partition, instructions, clock, repeats=True)
        self._repeats.noted(some=bool(decided.books.outcomes))
        return decided

    def reject(
        self,
        instruction: Instruction,
        clock: Callable[[], datetime],
        also: Callable[[Connection], None],
    ) -> Decided:
        """Give one instruction the outcome `operator_rejected`, unless it has one already.

        `also` is run in the same transaction, before anything is decided. A paused partition
        does not stop an operator.

        Raises: as `decide`, but for Paused; what `also` raises.
        """

        def decide(books: Books, now: datetime) -> Deciding:
            posting = reject(books, instruction, now)
            return posting, iter(posting.decisions)

        partition = partition_of(instruction.partition_key, self._partition_count)
        settlements = self._settlements.needed_by([instruction], partition)
        with self._taken(partition) as (connection, taken):
            also(connection)
            loaded = stored_books.load(connection, [instruction], settlements)
            return _save(connection, partition, taken.position, loaded, clock, decide)

    def _decide(
        self,
        partition: int,
        instructions: Sequence[Instruction],
        clock: Callable[[], datetime],
        *,
        repeats: bool,
    ) -> Decided:
        """As `decide`. Without `repeats`, one that comes again is a UniqueViolation."""

        def decide(books: Books, now: datetime) -> Deciding:
            return deciding(books, instructions, now)

        settlements = self._settlements.needed_by(instructions, partition)
        with self._taken(partition) as (connection, taken):
            if taken.paused_at is not None:
                raise Paused(partition)
            loaded = stored_books.load(connection, instructions, settlements, repeats=repeats)
            return _save(connection, partition, taken.position, loaded, clock, decide)

    @contextmanager
    def _taken(self, partition: int) -> Iterator[tuple[Connection, _Taken]]:
        """A transaction that holds a partition's lock."""
        named = {"space": _LOCK_SPACE, "partition": partition}
        with begun_with(self._engine, TAKE_PARTITION, **named) as (connection, found):
            [row] = found.rows
            yield connection, _Taken(*row)


def _save(
    connection: Connection,
    partition: int,
    position: int,
    loaded: stored_books.Loaded,
    clock: Callable[[], datetime],
    decide: Callable[[Books, datetime], Deciding],
) -> Decided:
    """Decide with the books loaded and locked; write each decision, and whom it concerns."""
    now = clock()
    posting, decisions = decide(loaded.books, now)
    tellings = []

    def decided() -> Iterator[Decision]:
        yield from decisions
        # Postgres is still storing the last of them meanwhile.
        tellings.append(events.telling(loaded.books, posting))

    stored_books.save(connection, loaded, posting, decided(), partition, position)
    [told] = tellings
    written = events.write(connection, told, now)
    return Decided(loaded.books, posting, written)

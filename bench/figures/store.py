"""The store: instructions that are decoded already become committed transfers.

One process, one connection, batches of 500, each of one partition as a worker has them.
"""

import gc
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from bench.bench import Bench, Sample
from bench.books import instructions_bytes, instructions_count
from bench.ground import BOOKS, PARTITIONS
from bench.pgbench import Pgbench
from bench.results import Figure, Target
from bench.transfers import Draw, always, uniform, zipf
from config.collector import settle_collector
from domain.instructions import decode, encode
from storage.engine import ledger_engine
from storage.ledger import Ledger

BATCH_SIZE: Final = 500
UNIFORM: Final = "store, uniform"
ZIPF: Final = "store, Zipf"
HOT: Final = "store, every transfer into one wallet"
BYTES: Final = "bytes of a transfer on disk"
NAMES: Final = (UNIFORM, ZIPF, HOT, BYTES)

_PGBENCH: Final = "pgbench -N, 32 clients"
_WARM_UP_BATCHES: Final = 4

Batch = tuple[int, list[bytes]]
"""A partition's number, and its instructions as they travel."""


def measure(bench: Bench, end_s: float) -> list[Figure]:
    """The store with payers and payees drawn three ways, beside pgbench."""
    pgbench = Pgbench(bench.ground)
    with bench.steps.step("pgbench fills its tables"):
        pgbench.fill(bench.sizes.pgbench_scale)
    store = Store(bench)
    wallets = bench.sizes.wallets
    evenly = uniform(wallets, bench.chance)
    unevenly = zipf(wallets, bench.chance)
    rows_before, bytes_before = store.extent()
    found = bench.interleaved(
        {
            _PGBENCH: lambda: pgbench.per_s(bench.sizes.pgbench_s),
            UNIFORM: store.sample(evenly, evenly),
            ZIPF: store.sample(unevenly, unevenly),
            HOT: store.sample(evenly, always(0)),
        },
        end_s=end_s,
        rounds=bench.sizes.store_rounds,
    )
    rows, size = store.extent()
    store.close()
    return [
        Figure(
            UNIFORM, "transfers/s", found[UNIFORM], Target("ratio", "at least", 2.8),
            _PGBENCH, found[_PGBENCH], "one connection, batches of 500",
        ),
        Figure(
            ZIPF, "transfers/s", found[ZIPF], Target("ratio", "at least", 1.0),
            UNIFORM, found[UNIFORM], "exponent 1.0, payers and payees",
        ),
        Figure(
            HOT, "transfers/s", found[HOT], Target("ratio", "at least", 1.0),
            UNIFORM, found[UNIFORM],
        ),
        Figure(
            BYTES, "bytes", [(size - bytes_before) / (rows - rows_before)],
            Target("value", "at most", 420),
            note=f"with indexes, key, fingerprint and reference, over {rows - rows_before:,} rows",
        ),
    ]  # fmt: skip  # A table reads better than a column of arguments.


class Store:
    """The ledger of one database as one worker uses it, over one connection."""

    def __init__(self, bench: Bench, database: str = BOOKS) -> None:
        self._bench = bench
        self._database = database
        self._engine = ledger_engine(bench.ground.settings(database))
        self._ledger = Ledger(self._engine, PARTITIONS)
        self._transfers = bench.transfers()
        self.decided = 0
        """Instructions decided so far, warm-up included."""

    def sample(self, source: Draw, destination: Draw, *, settled: bool = True) -> Sample:
        """A sample of transfers a second, with payers and payees drawn like this.

        Without `settled` there is no checkpoint before it.
        """
        batches = self._batches(source, destination)
        return lambda: self._per_s(batches, settled=settled)

    def post(self, count: int, source: Draw, destination: Draw) -> None:
        """Have so many transfers decided that nobody measures."""
        batches = self._batches(source, destination)
        for _ in range(count // BATCH_SIZE):
            self._decide([next(batches)])

    def extent(self) -> tuple[int, int]:
        """Decided instructions and their bytes on disk."""
        with self._bench.ground.operator(self._database) as engine, engine.connect() as connection:
            return instructions_count(engine), instructions_bytes(connection)

    def close(self) -> None:
        """Give the connection back."""
        self._engine.dispose()

    def _batches(self, source: Draw, destination: Draw) -> Iterator[Batch]:
        drawn = self._transfers.batches(BATCH_SIZE, source, destination)
        return ((partition, [encode(each) for each in batch]) for partition, batch in drawn)

    def _per_s(self, batches: Iterator[Batch], *, settled: bool) -> float:
        """Everything is drawn beforehand; then nothing stops for anything else."""
        count = max(1, self._bench.sizes.store_transfers // BATCH_SIZE)
        first, made = list(islice(batches, _WARM_UP_BATCHES)), list(islice(batches, count))
        self._decide(first)
        if settled:
            self._bench.ground.settle()
        # As a worker does; and no worker has so many objects for the collector to walk through.
        settle_collector()
        decided, seconds = self._decide(made)
        gc.unfreeze()
        return decided / seconds

    def _decide(self, batches: list[Batch]) -> tuple[int, float]:
        """How many moved money, since a rejection is no transfer, and the ledger's seconds.

        A batch is decoded just before it is decided, as a worker does it. The clock stands still
        meanwhile: what was decoded long ago would have left the processor's caches.
        """
        decided, seconds = 0, 0.0
        for partition, bodies in batches:
            batch = [decode(body) for body in bodies]
            for instruction in batch:
                assert instruction.id  # A worker has it from reading the message.
            begun = time.perf_counter()
            posting = self._ledger.decide(partition, batch, lambda: datetime.now(UTC)).posting
            seconds += time.perf_counter() - begun
            self.decided += len(posting.decisions)
            decided += sum(each.outcome.rejection is None for each in posting.decisions)
        return decided, seconds

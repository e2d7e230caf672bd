"""The real database, driven by two concurrent workers, against a model of plain sums."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run
from sqlalchemy import text

from domain.identity import partition_of
from domain.instructions import Instruction
from ops.stack.services import Services
from storage.engine import ledger_engine
from storage.faults import Fault, classify
from storage.ledger import Ledger
from storage.verify import verify
from tests.bookkeeping import (
    NOW,
    deposit,
    open_customer,
    open_wallet,
    transfer,
    wallet_id,
    withdrawal,
)
from tests.support import fresh_database

NAMES = ["ann", "ben", "cat", "dan"]
names = st.sampled_from([*NAMES, "nobody"])
keys = st.integers(1, 60)
money: st.SearchStrategy[Instruction] = st.one_of(
    st.builds(transfer, keys, names, names, st.integers(1, 80)),
    st.builds(deposit, keys, names, st.integers(1, 80)),
    st.builds(withdrawal, keys, names, st.integers(1, 80)),
)


class TwoWorkers(RuleBasedStateMachine):
    """Batches for two halves of the partitions, decided at the same time."""

    services: Services

    @initialize()
    def make(self) -> None:
        configured = fresh_database(self.services)
        self.engines = [ledger_engine(configured) for _ in range(2)]
        self.ledgers = [Ledger(engine, 8) for engine in self.engines]
        with self.engines[0].begin() as connection:
            connection.execute(text("INSERT INTO clients (name, scopes) VALUES ('acme', '{}')"))
        opening = [open_customer(f"c-{n}", n) for n in NAMES]
        self.ledgers[0].decide(0, opening, lambda: NOW)
        self.ledgers[0].decide(0, [open_wallet(f"w-{n}", n, n) for n in NAMES], lambda: NOW)
        self.seen: dict[str, Any] = {}

    @rule(batch=st.lists(money, min_size=1, max_size=12))
    def post(self, batch: list[Instruction]) -> None:
        halves: list[list[Instruction]] = [[], []]
        for instruction in batch:
            halves[partition_of(instruction.partition_key, 8) % 2].append(instruction)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.work, (0, 1), halves))

    def work(self, worker: int, batch: list[Instruction]) -> None:
        for partition in range(worker, 8, 2):
            mine = [i for i in batch if partition_of(i.partition_key, 8) == partition]
            if mine:
                self.decide(worker, partition, mine)

    def decide(self, worker: int, partition: int, batch: list[Instruction]) -> None:
        """One worker's part, with a reload when the other was first with a key."""
        decided = None
        while decided is None:
            try:
                decided = self.ledgers[worker].decide(partition, batch, lambda: NOW)
            except Exception as error:
                if classify(error) is not Fault.RELOAD:
                    raise
        for decision in decided.posting.decisions:
            outcome = decision.outcome
            assert self.seen.setdefault(outcome.instruction_id, outcome) == outcome

    @invariant()
    def the_books_equal_the_model(self) -> None:
        if not hasattr(self, "seen"):
            return
        balances = dict.fromkeys(map(wallet_id, NAMES), 0)
        for outcome in self.seen.values():
            for entry in outcome.entries:
                if entry.wallet_id in balances:
                    balances[entry.wallet_id] += entry.amount
        with self.engines[0].connect() as connection:
            rows = connection.execute(
                text("SELECT id, balance FROM wallets WHERE customer_id IS NOT NULL")
            )
            assert {row.id: row.balance for row in rows} == balances
        assert all(balance >= 0 for balance in balances.values())

    def teardown(self) -> None:
        if hasattr(self, "engines"):
            verdict = verify(self.engines[0])
            for engine in self.engines:
                engine.dispose()
            assert verdict.sound, verdict.findings


def test_two_concurrent_workers_keep_the_books_that_a_model_keeps(services: Services):
    class Bound(TwoWorkers):
        pass

    Bound.services = services
    run(
        Bound,
        settings=settings(
            max_examples=12,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

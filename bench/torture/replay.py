"""Decide everything again, by the rules alone, and compare.

Each partition's instructions are taken in its order. A partition owns the wallets that it
debits, but credits reach them from others at any time; which had arrived is told by the
source's `seq` that each decision recorded. So the balance that a decision must have seen is
known, and `post` must come to the same end.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bench.torture.case import Case, Violation
from bench.torture.snapshot import Decided, Snapshot
from domain.books import Books, Wallet, WalletStatus
from domain.errors import LedgerFault
from domain.identity import partition_of
from domain.instructions import CustomerOpen, Deposit, Money, WalletOpen, Withdrawal
from domain.posting import post
from domain.rejections import Code

_DESTINATION_ABSENT: Final = frozenset({Code.DESTINATION_NOT_FOUND, Code.WALLET_NOT_FOUND})


def replay(case: Case) -> Iterator[Violation]:
    """Every decision equals the one that the rules give on the books it must have seen."""
    told = _Told(case.snapshot)
    for row in case.snapshot.decided:
        right = partition_of(row.instruction.partition_key, case.snapshot.partitions)
        if right != row.partition:
            yield Violation("replay", row.stored_id, f"decided in {row.partition}, not {right}")
            continue
        books, wrong = told.books_before(row)
        if wrong:
            yield Violation("replay", row.stored_id, wrong)
            continue
        now = datetime.fromisoformat(row.outcome.decided_at)
        try:
            again = post(books, [row.instruction], now).decisions[0].outcome
        except LedgerFault as fault:
            yield Violation("replay", row.stored_id, str(fault))
            continue
        if again != row.outcome:
            yield Violation("replay", row.stored_id, f"stored {row.outcome}, replayed {again}")


def born_of(row: Decided) -> Iterator[str]:
    """Ids of the customers and wallets that a decision opened."""
    if row.outcome.rejection is not None:
        return
    if isinstance(row.instruction, CustomerOpen):
        yield row.instruction.customer_id
        yield from (wallet_id for wallet_id, _ in row.instruction.wallets())
    elif isinstance(row.instruction, WalletOpen):
        yield row.instruction.wallet_id


@dataclass(slots=True)
class _Told:
    """What the rows themselves tell of every wallet, at every one of its entries."""

    snapshot: Snapshot
    balances: dict[str, dict[int, int]] = field(default_factory=dict)
    births: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Partition and position at which a customer or a wallet was opened."""
    places: dict[int, int] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)
    """The highest `seq` at which each wallet was debited, or found wanting, so far."""

    stripes: dict[tuple[int, str, int], str] = field(default_factory=dict)
    """Wallets of settlement accounts, by client, currency and stripe."""
    grants: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for wallet in self.snapshot.wallets.values():
            if wallet.stripe is not None:
                self.stripes[wallet.client_id, wallet.currency, wallet.stripe] = wallet.id
        for client_id, wallet_id in self.snapshot.grants:
            self.grants[wallet_id] = (*self.grants.get(wallet_id, ()), client_id)
        for row in self.snapshot.decided:
            for entry in row.outcome.entries:
                self.balances.setdefault(entry.wallet_id, {})[entry.seq] = entry.balance
            for name in born_of(row):
                self.births[name] = row.partition, row.position

    def books_before(self, row: Decided) -> tuple[Books, str]:
        """The books that a decision must have seen, or what is wrong with what it tells."""
        place = self.places.get(row.partition, 0) + 1
        self.places[row.partition] = row.position
        if row.position != place:
            return Books(), f"partition {row.partition} goes from {place - 1} to {row.position}"
        match row.instruction:
            case CustomerOpen() | WalletOpen():
                return self._before_opening(row, row.instruction), ""
            case _:
                return self._before_money(row, row.instruction)

    def _before_opening(self, row: Decided, instruction: CustomerOpen | WalletOpen) -> Books:
        if isinstance(instruction, CustomerOpen):
            customer_id = instruction.customer_id
            wallet_ids = [wallet_id for wallet_id, _ in instruction.wallets()]
        else:
            customer_id, wallet_ids = instruction.data.customer_id, [instruction.wallet_id]
        code = None if row.outcome.rejection is None else row.outcome.rejection.code
        wallets: dict[str, Wallet] = {}
        for wallet_id in wallet_ids:
            if self._existed(wallet_id, row, otherwise=code is Code.WALLET_EXISTS):
                wallets[wallet_id] = self._wallet(wallet_id, 0)
        customers = {}
        missing = code is Code.CUSTOMER_NOT_FOUND
        if self._existed(customer_id, row, otherwise=not missing):
            customers[customer_id] = self.snapshot.customers[customer_id]
        return Books(wallets, customers)

    def _before_money(self, row: Decided, instruction: Money) -> tuple[Books, str]:
        outcome = row.outcome
        source_id, destination_id = row.source_wallet_id or "", row.destination_wallet_id or ""
        code = None if outcome.rejection is None else outcome.rejection.code
        settlements = self._settlements(row, instruction)
        wallets: dict[str, Wallet] = {}
        known = self._existed(source_id, row, otherwise=outcome.source_seq is not None)
        if known != (outcome.source_seq is not None):
            return Books(), f"the source {'existed' if known else 'did not exist'}"
        if outcome.source_seq is not None:
            seq = outcome.source_seq - len(outcome.entries[:1])
            if seq and seq not in self.balances.get(source_id, {}):
                return Books(), f"saw entry {seq} of {source_id}, which there is not"
            if seq < self.reached.get(source_id, 0):
                return Books(), f"saw {source_id} at {seq}, behind {self.reached[source_id]}"
            self.reached[source_id] = outcome.source_seq
            wallets[source_id] = self._wallet(source_id, seq)
        absent = code in _DESTINATION_ABSENT and not isinstance(instruction, Withdrawal)
        if destination_id != source_id and self._existed(
            destination_id, row, otherwise=not absent and destination_id in self.snapshot.wallets
        ):
            seq = outcome.entries[1].seq - 1 if outcome.entries else 0
            if seq and seq not in self.balances.get(destination_id, {}):
                return Books(), f"credited {destination_id} behind entry {seq}, which there is not"
            wallets[destination_id] = self._wallet(destination_id, seq)
        return Books(wallets, grants=self.grants, settlements=settlements), ""

    def _settlements(self, row: Decided, instruction: Money) -> Mapping[tuple[int, str], str]:
        if not isinstance(instruction, Deposit | Withdrawal):
            return {}
        name = instruction.client_id, instruction.data.currency
        # One with a floor is not striped.
        stripe = self.stripes.get((*name, row.partition)) or self.stripes.get((*name, 0))
        return {} if stripe is None else {name: stripe}

    def _existed(self, name: str, row: Decided, *, otherwise: bool) -> bool:
        """Whether something had been opened: known in one partition, else as the row tells."""
        wallet = self.snapshot.wallets.get(name)
        if wallet is not None and wallet.customer_id is None:
            return True
        birth = self.births.get(name)
        if birth is None:
            return False
        if birth[0] == row.partition:
            return birth[1] < row.position
        return otherwise

    def _wallet(self, wallet_id: str, seq: int) -> Wallet:
        stored = self.snapshot.wallets[wallet_id]
        balance = self.balances.get(wallet_id, {}).get(seq, 0)
        return Wallet(
            wallet_id,
            stored.client_id,
            stored.customer_id,
            stored.currency,
            WalletStatus.OPEN,
            balance,
            seq,
            stored.floor,
        )

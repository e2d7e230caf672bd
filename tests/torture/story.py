"""A small sound run, told by the rules themselves, for tests to spoil."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from bench.torture.checker import stored_essence
from bench.torture.journal import ACCEPTED, FEED, Answered, Item, Journal, Seen, Sent, Told
from bench.torture.snapshot import Decided, Snapshot, StoredWallet
from bench.torture.telling import expected_events
from domain.books import Books, Posting, Wallet, WalletStatus
from domain.identity import derived_id, partition_of
from domain.instructions import Deposit, Instruction, Withdrawal
from domain.posting import post
from tests.bookkeeping import CLIENT

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
PARTITIONS = 2


class Story:
    """Instructions that were sent one by one, each confirmed, decided and seen before the next."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.snapshot = Snapshot(PARTITIONS)
        self._books = Books()
        self._attempts = count(1)
        self._clock = 0.0
        self._stripes: dict[str, int] = {}
        self._positions = dict.fromkeys(range(PARTITIONS), 0)

    def tell(self, *instructions: Instruction) -> "Story":
        """Let these happen, one after the other."""
        for instruction in instructions:
            self.send([instruction])
            self.decide(instruction)
            self.see(self.snapshot.decided[-1])
        return self

    def send(
        self, instructions: Sequence[Instruction], verdict: str = ACCEPTED, door: str = "http"
    ) -> int:
        """Send these in one request; the number of the attempt."""
        attempt = next(self._attempts)
        items = tuple(
            Item(each.id, each.fingerprint, each.partition_key, sound=True) for each in instructions
        )
        self.journal.sent.append(Sent(self.tick(), attempt, door, CLIENT, items))
        verdicts = (verdict,) * len(items)
        status = 202 if verdict == ACCEPTED else 503
        self.journal.answered.append(Answered(self.tick(), attempt, status, verdicts))
        return attempt

    def decide(self, instruction: Instruction) -> Decided:
        """Let the rules decide, as the ledger would."""
        partition = partition_of(instruction.partition_key, PARTITIONS)
        self._open_settlement(instruction, partition)
        now = START + timedelta(seconds=int(self._clock))
        posting = post(self._books, [instruction], now)
        self._store(posting)
        self._positions[partition] += 1
        outcome = posting.decisions[0].outcome
        source, destination = _sides(instruction, partition)
        row = Decided(
            partition,
            self._positions[partition],
            instruction,
            outcome,
            instruction.id,
            instruction.fingerprint,
            source,
            destination,
        )
        self.snapshot.decided.append(row)
        return row

    def see(self, row: Decided, channel: str = "poll") -> None:
        """Let the submitter see an outcome."""
        asked_at = self.tick()
        seen = Seen(
            self.tick(),
            asked_at,
            channel,
            CLIENT,
            row.stored_id,
            row.outcome.status,
            stored_essence(self.snapshot, row),
        )
        self.journal.seen.append(seen)

    def feed(self) -> "Story":
        """Let the client read all its events."""
        for event_id, instruction_id in expected_events(self.snapshot, CLIENT).items():
            told = Told(
                self.tick(), FEED, CLIENT, event_id, "instruction.succeeded", instruction_id, "d"
            )
            self.journal.told.append(told)
        return self

    def ordered(self) -> "Story":
        """The rows as a snapshot has them: by partition and position."""
        self.snapshot.decided.sort(key=lambda row: (row.partition, row.position))
        return self

    def tick(self) -> float:
        """A moment later."""
        self._clock += 1.0
        return self._clock

    def _store(self, posting: Posting) -> None:
        books = self._books
        self._books = Books(
            {**books.wallets, **posting.wallets},
            {**books.customers, **posting.customers},
            settlements=books.settlements,
        )
        for wallet in self._books.wallets.values():
            self.snapshot.wallets[wallet.id] = StoredWallet(
                wallet.id,
                wallet.client_id,
                wallet.customer_id,
                wallet.currency,
                wallet.balance,
                wallet.seq,
                wallet.floor,
                self._stripes.get(wallet.id),
            )
        self.snapshot.customers = dict(self._books.customers)

    def _open_settlement(self, instruction: Instruction, partition: int) -> None:
        if not isinstance(instruction, Deposit | Withdrawal):
            return
        name = instruction.client_id, instruction.data.currency
        id_ = _stripe_id(*name, partition)
        self._stripes[id_] = partition
        wallets = dict(self._books.wallets)
        wallets.setdefault(id_, Wallet(id_, name[0], None, name[1], WalletStatus.OPEN, 0, 0, None))
        self._books = Books(wallets, self._books.customers, settlements={name: id_})


def _stripe_id(client_id: int, currency: str, partition: int) -> str:
    return derived_id("settlement", client_id, currency, partition)


def _sides(instruction: Instruction, partition: int) -> tuple[str | None, str | None]:
    data = instruction.data
    source = getattr(data, "source_wallet_id", None)
    destination = getattr(data, "destination_wallet_id", None)
    if isinstance(instruction, Deposit | Withdrawal):
        account = _stripe_id(instruction.client_id, instruction.data.currency, partition)
        wallet = instruction.data.wallet_id
        deposit = isinstance(instruction, Deposit)
        source, destination = (account, wallet) if deposit else (wallet, account)
    return source, destination

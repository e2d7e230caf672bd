"""What the rules look at, and what they decide: the data on either side of `post`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from domain.instructions import Instruction
from domain.rejections import Rejection


class WalletStatus(StrEnum):
    """Whether a wallet moves money."""

    OPEN = "open"
    FROZEN = "frozen"
    CLOSED = "closed"


class Wallet(NamedTuple):
    """A wallet as the ledger stands. Amounts in minor units of its currency.

    Customers' wallets have a floor of zero. `floor` is None for a settlement account
    without a limit, and `customer_id` is None for every settlement account.
    """

    id: str
    client_id: int
    customer_id: str | None
    currency: str
    status: WalletStatus
    balance: int
    seq: int
    floor: int | None

    @property
    def available(self) -> int | None:
        """What could be spent now; None where there is no limit."""
        return None if self.floor is None else max(self.balance - self.floor, 0)

    def moved(self, amount: int) -> "Wallet":
        """The wallet after one more entry."""
        return Wallet(
            self.id,
            self.client_id,
            self.customer_id,
            self.currency,
            self.status,
            self.balance + amount,
            self.seq + 1,
            self.floor,
        )


class Entry(NamedTuple):
    """One side of a posted amount: `seq` counts a wallet's entries from 1 without gaps."""

    wallet_id: str
    seq: int
    amount: int
    balance: int


class Outcome(NamedTuple):
    """The one answer that an instruction has, for ever.

    `submitted_at` is when it was first submitted; a repeat of the key does not change it.
    Both times are text, as `domain.fields.Moment` is.
    `entries` holds the debit and then the credit of a money instruction that succeeded.
    `source_seq` is the number of the debited wallet's last entry once this was decided,
    its own included, and None where no debited wallet was found.
    """

    instruction_id: str
    fingerprint: str
    submitted_at: str
    decided_at: str
    rejection: Rejection | None = None
    entries: tuple[Entry, ...] = ()
    source_seq: int | None = None

    @property
    def status(self) -> str:
        """`succeeded` or `rejected`; both are final."""
        return "succeeded" if self.rejection is None else "rejected"


@dataclass(frozen=True, slots=True)
class Books:
    """All that the ledger knows about a batch of instructions before it is decided.

    What is absent does not exist. `settlements` names the settlement account that a
    client's money passes through in the batch's partition, by client and currency.
    """

    wallets: Mapping[str, Wallet] = field(default_factory=dict)
    customers: Mapping[str, int] = field(default_factory=dict)
    """Owner client by customer id."""
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    """Outcomes already given, by instruction id."""
    grants: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By wallet id, the clients that were granted it though another opened it."""
    settlements: Mapping[tuple[int, str], str] = field(default_factory=dict)

    def may_use(self, client_id: int, wallet: Wallet) -> bool:
        """Whether a client may read and debit a wallet: it opened it, or was granted it."""
        return wallet.client_id == client_id or client_id in self.grants.get(wallet.id, ())

    def readers(self, wallet: Wallet) -> tuple[int, ...]:
        """The clients that are told of a wallet's entries. Settlement accounts are nobody's."""
        if wallet.customer_id is None:
            return ()
        granted = self.grants.get(wallet.id)
        return (wallet.client_id,) if granted is None else (wallet.client_id, *granted)


class Answer(StrEnum):
    """How an instruction relates to its outcome."""

    DECIDED = "decided"
    """Now, by this batch."""
    REPLAYED = "replayed"
    """Before: the same key and the same body."""
    REUSED = "reused"
    """Before, for another body under the same key: the first outcome stands."""


class Decision(NamedTuple):
    """One instruction of a batch, with its outcome."""

    instruction: Instruction
    outcome: Outcome
    answer: Answer


def newly_decided(decisions: Iterable[Decision]) -> Iterator[Decision]:
    """Those that are no repeats of an earlier outcome."""
    decided = Answer.DECIDED  # To look a member up takes longer than to compare it.
    return (decision for decision in decisions if decision.answer is decided)


@dataclass(frozen=True, slots=True)
class Posting:
    """What a batch changes. Nothing of it is true before it is committed."""

    decisions: list[Decision]
    """One for each instruction, in the order they came."""
    wallets: dict[str, Wallet]
    """Wallets that moved or were opened, as they stand afterwards."""
    customers: dict[str, int]
    """Owner client of each customer that was opened."""

    def decided(self) -> Iterator[Decision]:
        """The decisions that are new, in order: what has to be stored."""
        return newly_decided(self.decisions)

"""Every money rule, in one pure function: `post`; `deciding` is the same step by step."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from domain.books import Answer, Books, Decision, Entry, Outcome, Posting, Wallet, WalletStatus
from domain.errors import SettlementForeign, SettlementMissing
from domain.fields import timestamp_text
from domain.instructions import (
    CustomerOpen,
    Deposit,
    Instruction,
    Money,
    Transfer,
    WalletOpen,
    Withdrawal,
)
from domain.money import BALANCE_MINOR_MAX
from domain.rejections import Code, Rejection

# To look a member of an enum up takes longer than most rules.
_DECIDED: Final = Answer.DECIDED
_FROZEN: Final = WalletStatus.FROZEN
_CLOSED: Final = WalletStatus.CLOSED

Deciding = tuple[Posting, Iterator[Decision]]
"""A posting, and the decisions that it grows by: it is whole when all have been taken."""


def post(books: Books, instructions: Sequence[Instruction], now: datetime) -> Posting:
    """Decide a batch in arrival order, touching nothing but its arguments.

    Each instruction sees what its predecessors left, so a batch of n equals n batches of
    one. The worker relies on that when it retries a batch one by one.

    Raises: LedgerFault if the books cannot be right.
    """
    posting, decisions = deciding(books, instructions, now)
    for _ in decisions:
        pass
    return posting


def deciding(books: Books, instructions: Sequence[Instruction], now: datetime) -> Deciding:
    """As `post`, but decide each instruction when its decision is asked for.

    So what was decided can be on its way while the rest is thought about.
    """
    batch = _Batch(books, now)
    posting = Posting(batch.decisions, batch.moved, batch.opened)
    return posting, map(batch.take, instructions)


def reject(books: Books, instruction: Instruction, now: datetime) -> Posting:
    """Give an instruction the outcome `operator_rejected`, unless it has one already."""
    batch = _Batch(books, now)
    if not batch.replay(instruction):
        outcome = batch.outcome(instruction, Rejection(Code.OPERATOR_REJECTED))
        batch.answer(instruction, outcome)
    return Posting(batch.decisions, batch.moved, batch.opened)


class _Batch:
    """The books as they change from one instruction to the next."""

    def __init__(self, books: Books, now: datetime) -> None:
        self.books = books
        self.now = now
        self.decided_at = timestamp_text(now)
        self.decisions: list[Decision] = []
        self.wallets = dict(books.wallets)
        self.customers = dict(books.customers)
        self.outcomes = dict(books.outcomes)
        self.moved: dict[str, Wallet] = {}
        self.opened: dict[str, int] = {}

    def take(self, instruction: Instruction) -> Decision:
        return self.replay(instruction) or self.answer(instruction, self.decide(instruction))

    def decide(self, instruction: Instruction) -> Outcome:
        match instruction:
            case Transfer() | Deposit() | Withdrawal():
                return self.move_money(instruction)
            case CustomerOpen():
                return self.open_customer(instruction)
            case WalletOpen():
                return self.open_wallet(instruction)

    def replay(self, instruction: Instruction) -> Decision | None:
        """Answer with the outcome that there is already, if there is one."""
        past = self.outcomes.get(instruction.id)
        if past is None:
            return None
        same = past.fingerprint == instruction.fingerprint
        answer = Answer.REPLAYED if same else Answer.REUSED
        decision = Decision(instruction, past, answer)
        self.decisions.append(decision)
        return decision

    def answer(self, instruction: Instruction, outcome: Outcome) -> Decision:
        self.outcomes[instruction.id] = outcome
        decision = Decision(instruction, outcome, _DECIDED)
        self.decisions.append(decision)
        return decision

    def keep(self, wallet: Wallet) -> None:
        self.wallets[wallet.id] = self.moved[wallet.id] = wallet

    def outcome(
        self,
        instruction: Instruction,
        rejection: Rejection | None = None,
        entries: tuple[Entry, ...] = (),
        source_seq: int | None = None,
    ) -> Outcome:
        return Outcome(
            instruction.id,
            instruction.fingerprint,
            instruction.submitted_at,
            self.decided_at,
            rejection,
            entries,
            source_seq,
        )

    def open_customer(self, instruction: CustomerOpen) -> Outcome:
        customer_id = instruction.customer_id
        if customer_id in self.customers:
            return self.outcome(
                instruction, Rejection(Code.CUSTOMER_EXISTS, customer_id=customer_id)
            )
        for wallet_id, _ in instruction.wallets():
            if wallet_id in self.wallets:
                return self.outcome(instruction, Rejection(Code.WALLET_EXISTS, wallet_id))
        # After this point the customer must be opened.
        self.customers[customer_id] = self.opened[customer_id] = instruction.client_id
        for wallet_id, currency in instruction.wallets():
            self.keep(_new_wallet(instruction, wallet_id, customer_id, currency))
        return self.outcome(instruction)

    def open_wallet(self, instruction: WalletOpen) -> Outcome:
        customer_id, wallet_id = instruction.data.customer_id, instruction.wallet_id
        owner = self.customers.get(customer_id)
        rejection = None
        if owner is None:
            rejection = Rejection(Code.CUSTOMER_NOT_FOUND, customer_id=customer_id)
        elif owner != instruction.client_id:
            rejection = Rejection(Code.NOT_PERMITTED, customer_id=customer_id)
        elif wallet_id in self.wallets:
            rejection = Rejection(Code.WALLET_EXISTS, wallet_id)
        if rejection is None:
            currency = instruction.data.currency
            self.keep(_new_wallet(instruction, wallet_id, customer_id, currency))
        return self.outcome(instruction, rejection)

    def move_money(self, instruction: Money) -> Outcome:
        source, destination = self.sides(instruction)
        rejection = self.refusal(instruction, source, destination)
        if rejection is not None or source is None or destination is None:
            seq = None if source is None else source.seq
            return self.outcome(instruction, rejection, source_seq=seq)
        # After this point the money must move.
        amount = instruction.data.amount
        source, destination = source.moved(-amount), destination.moved(amount)
        self.keep(source)
        self.keep(destination)
        entries = (
            Entry(source.id, source.seq, -amount, source.balance),
            Entry(destination.id, destination.seq, amount, destination.balance),
        )
        return self.outcome(instruction, entries=entries, source_seq=source.seq)

    def sides(self, instruction: Money) -> tuple[Wallet | None, Wallet | None]:
        """The wallet that is debited and the one that is credited, where they exist."""
        if isinstance(instruction, Transfer):
            data = instruction.data
            return (
                self.customers_wallet(data.source_wallet_id),
                self.customers_wallet(data.destination_wallet_id),
            )
        wallet = self.customers_wallet(instruction.data.wallet_id)
        settlement = self.settlement(instruction)
        if isinstance(instruction, Deposit):
            return settlement, wallet
        return wallet, settlement

    def customers_wallet(self, wallet_id: str) -> Wallet | None:
        """Settlement accounts are nobody's to name: only deposits and withdrawals reach them."""
        wallet = self.wallets.get(wallet_id)
        return None if wallet is None or wallet.customer_id is None else wallet

    def settlement(self, instruction: Deposit | Withdrawal) -> Wallet:
        name = (instruction.client_id, instruction.data.currency)
        wallet_id = self.books.settlements.get(name)
        if wallet_id is None or wallet_id not in self.wallets:
            raise SettlementMissing(instruction_id=instruction.id, settlement=name)
        account = self.wallets[wallet_id]
        # Money that comes in or goes out must not touch what somebody can spend.
        if account.customer_id is not None or (account.client_id, account.currency) != name:
            raise SettlementForeign(instruction_id=instruction.id, settlement=name)
        return account

    def refusal(
        self, instruction: Money, source: Wallet | None, destination: Wallet | None
    ) -> Rejection | None:
        """The first rule, in the contract's order, that the instruction breaks."""
        data = instruction.data
        if data.expires_at is not None and data.expires_at <= self.now:
            return Rejection(Code.EXPIRED)
        if isinstance(instruction, Transfer):
            if instruction.data.source_wallet_id == instruction.data.destination_wallet_id:
                return Rejection(Code.SAME_WALLET, instruction.data.source_wallet_id)
            if source is None:
                return Rejection(Code.SOURCE_NOT_FOUND, instruction.data.source_wallet_id)
        elif source is None or destination is None:
            return Rejection(Code.WALLET_NOT_FOUND, instruction.data.wallet_id)
        # A deposit debits the client's own settlement account.
        is_deposit = type(instruction) is Deposit
        if not is_deposit and not self.books.may_use(instruction.client_id, source):
            return Rejection(Code.NOT_PERMITTED, source.id)
        if destination is None:
            return Rejection(Code.DESTINATION_NOT_FOUND, _destination_id(instruction))
        return _money_refusal(data.amount, data.currency, source, destination)


def _money_refusal(
    amount: int, currency: str, source: Wallet, destination: Wallet
) -> Rejection | None:
    """The rules that hold for any two wallets that may do business at all."""
    sides = (source, destination)
    for wallet in sides:
        if wallet.currency != currency:
            return Rejection(Code.CURRENCY_MISMATCH, wallet.id)
    for wallet in sides:
        if wallet.status == _FROZEN:
            return Rejection(Code.WALLET_FROZEN, wallet.id)
    for wallet in sides:
        if wallet.status == _CLOSED:
            return Rejection(Code.WALLET_CLOSED, wallet.id)
    available = source.available
    if available is not None and available < amount:
        named = None if source.customer_id is None else source.id
        return Rejection(Code.INSUFFICIENT_FUNDS, named, available=available, required=amount)
    if destination.balance + amount > BALANCE_MINOR_MAX:
        return Rejection(Code.BALANCE_OVERFLOW, destination.id)
    if source.balance - amount < -BALANCE_MINOR_MAX:
        return Rejection(Code.BALANCE_OVERFLOW, source.id)
    return None


def _destination_id(instruction: Money) -> str:
    if isinstance(instruction, Transfer):
        return instruction.data.destination_wallet_id
    return instruction.data.wallet_id


def _new_wallet(
    instruction: CustomerOpen | WalletOpen, wallet_id: str, customer_id: str, currency: str
) -> Wallet:
    return Wallet(
        wallet_id,
        instruction.client_id,
        customer_id,
        currency,
        WalletStatus.OPEN,
        balance=0,
        seq=0,
        floor=0,
    )

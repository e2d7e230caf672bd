"""The money rules of the contract, one sentence each."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from domain.books import Answer, Books, Posting, Wallet, WalletStatus
from domain.errors import SettlementForeign, SettlementMissing
from domain.fields import timestamp_text
from domain.instructions import Instruction
from domain.money import BALANCE_MINOR_MAX
from domain.posting import post, reject
from domain.rejections import Code
from tests.bookkeeping import (
    CLIENT,
    NOW,
    OTHER_CLIENT,
    a_settlement,
    a_wallet,
    an_instruction,
    books_with,
    customer_id,
    deposit,
    open_customer,
    open_wallet,
    transfer,
    wallet_id,
    withdrawal,
)

PAST = timestamp_text(NOW)
FUTURE = timestamp_text(NOW + timedelta(milliseconds=1))


def codes(posting: Posting) -> list[Code | None]:
    return [d.outcome.rejection and d.outcome.rejection.code for d in posting.decisions]


def code(books: Books, instruction: Instruction) -> Code | None:
    return codes(post(books, [instruction], NOW))[0]


def test_a_transfer_debits_one_wallet_and_credits_the_other():
    posting = post(books_with(ann=100, ben=5), [transfer(1, "ann", "ben", 30)], NOW)

    debit, credit = posting.decisions[0].outcome.entries
    assert debit == (wallet_id("ann"), 1, -30, 70)
    assert credit == (wallet_id("ben"), 1, 30, 35)
    assert posting.wallets[wallet_id("ann")].balance == 70
    assert posting.wallets[wallet_id("ben")].seq == 1


def test_a_transfer_may_spend_what_an_earlier_one_in_its_batch_brought_in():
    batch = [
        transfer(1, "ann", "ben", 100),
        transfer(2, "ben", "cat", 60),
        transfer(3, "ben", "cat", 60),
    ]

    posting = post(books_with(ann=100, ben=0, cat=0), batch, NOW)

    assert codes(posting) == [None, None, Code.INSUFFICIENT_FUNDS]
    rejection = posting.decisions[2].outcome.rejection
    assert rejection is not None
    assert (rejection.available, rejection.required) == (40, 60)


def test_a_deposit_comes_out_of_the_clients_settlement_account():
    books = books_with(ann=0)

    posting = post(books, [deposit(1, "ann", 500)], NOW)

    settlement, wallet = posting.decisions[0].outcome.entries
    assert settlement.wallet_id == books.settlements[1, "KES"]
    assert (settlement.amount, settlement.balance) == (-500, -500)
    assert (wallet.amount, wallet.balance) == (500, 500)


def test_a_withdrawal_goes_into_the_clients_settlement_account():
    posting = post(books_with(ann=500), [withdrawal(1, "ann", 200)], NOW)

    wallet, settlement = posting.decisions[0].outcome.entries
    assert (wallet.balance, settlement.balance) == (300, 200)


def test_a_settlement_account_with_a_floor_refuses_a_deposit_that_would_break_it():
    books = books_with(a_settlement(floor=-100), ann=0)

    posting = post(books, [deposit(1, "ann", 60), deposit(2, "ann", 60)], NOW)

    assert codes(posting) == [None, Code.INSUFFICIENT_FUNDS]
    rejection = posting.decisions[1].outcome.rejection
    assert rejection is not None
    assert (rejection.wallet_id, rejection.available) == (None, 40)


def test_a_customer_is_opened_with_their_first_wallets():
    instruction = open_customer(1, "ann", currencies=["KES", "RWF"])

    posting = post(books_with(), [instruction], NOW)

    assert posting.customers == {customer_id("ann"): 1}
    opened = list(posting.wallets.values())
    assert [wallet.currency for wallet in opened] == ["KES", "RWF"]
    assert [wallet.id for wallet in opened] == [name for name, _ in instruction.wallets()]
    assert {(w.balance, w.seq, w.floor) for w in opened} == {(0, 0, 0)}


def test_customer_wallet_and_first_deposit_may_come_in_one_batch():
    batch: list[Instruction] = [
        open_customer(1, "ann"),
        open_wallet(2, "ann", "ann"),
        deposit(3, "ann", 10),
    ]

    posting = post(books_with(), batch, NOW)

    assert codes(posting) == [None, None, None]
    assert posting.wallets[wallet_id("ann")].balance == 10


def test_the_same_instruction_again_is_answered_with_the_first_outcome():
    once = transfer(1, "ann", "ben", 100)

    posting = post(books_with(ann=100, ben=0), [once, once, once], NOW)

    assert [d.answer for d in posting.decisions] == [
        Answer.DECIDED,
        Answer.REPLAYED,
        Answer.REPLAYED,
    ]
    assert len({d.outcome for d in posting.decisions}) == 1
    assert posting.wallets[wallet_id("ann")].balance == 0


def test_a_rejection_is_replayed_too_though_there_is_money_now():
    refused = transfer(1, "ann", "ben", 100)
    batch: list[Instruction] = [refused, deposit(2, "ann", 100), refused]

    posting = post(books_with(ann=0, ben=0), batch, NOW)

    assert codes(posting) == [Code.INSUFFICIENT_FUNDS, None, Code.INSUFFICIENT_FUNDS]
    assert posting.decisions[2].answer is Answer.REPLAYED


def test_a_reused_key_makes_no_second_outcome():
    batch = [transfer("key", "ann", "ben", 1), transfer("key", "ann", "ben", 2)]

    posting = post(books_with(ann=100, ben=0), batch, NOW)

    assert [d.answer for d in posting.decisions] == [Answer.DECIDED, Answer.REUSED]
    assert posting.wallets[wallet_id("ben")].balance == 1


def test_two_clients_may_use_the_same_key():
    theirs = a_wallet("cat", 10, client_id=OTHER_CLIENT)
    batch = [
        transfer("key", "ann", "ben", 1),
        transfer("key", "cat", "ben", 2, client_id=OTHER_CLIENT),
    ]

    assert codes(post(books_with(theirs, ann=100, ben=0), batch, NOW)) == [None, None]


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        (transfer(1, "ann", "ben", 1, expires_at=PAST), Code.EXPIRED),
        (transfer(1, "ann", "ann", 1), Code.SAME_WALLET),
        (open_wallet(1, "new", "nobody"), Code.CUSTOMER_NOT_FOUND),
        (deposit(1, "nobody", 1), Code.WALLET_NOT_FOUND),
        (withdrawal(1, "nobody", 1), Code.WALLET_NOT_FOUND),
        (transfer(1, "nobody", "ben", 1), Code.SOURCE_NOT_FOUND),
        (transfer(1, "theirs", "ben", 1), Code.NOT_PERMITTED),
        (withdrawal(1, "theirs", 1), Code.NOT_PERMITTED),
        (open_wallet(1, "new", "theirs"), Code.NOT_PERMITTED),
        (open_customer(1, "ann"), Code.CUSTOMER_EXISTS),
        (open_wallet(1, "ben", "ann"), Code.WALLET_EXISTS),
        (transfer(1, "ann", "nobody", 1), Code.DESTINATION_NOT_FOUND),
        (transfer(1, "ann", "rwanda", 1), Code.CURRENCY_MISMATCH),
        (transfer(1, "ann", "ben", 1, "RWF"), Code.CURRENCY_MISMATCH),
        (deposit(1, "ann", 1, "RWF"), Code.CURRENCY_MISMATCH),
        (transfer(1, "ann", "frozen", 1), Code.WALLET_FROZEN),
        (withdrawal(1, "frozen", 1), Code.WALLET_FROZEN),
        (transfer(1, "closed", "ann", 1), Code.WALLET_CLOSED),
        (transfer(1, "ann", "ben", 101), Code.INSUFFICIENT_FUNDS),
        (withdrawal(1, "ann", 101), Code.INSUFFICIENT_FUNDS),
        (transfer(1, "ann", "full", 1), Code.BALANCE_OVERFLOW),
        (deposit(1, "full", 1), Code.BALANCE_OVERFLOW),
        (transfer(1, "ann", "ben", 100, expires_at=FUTURE), None),
        (deposit(1, "theirs", 1), None),
        (transfer(1, "ann", "theirs", 1), None),
    ],
)
def test_each_rule_has_its_code(instruction: Instruction, expected: Code | None):
    assert code(everything(), instruction) is expected


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        (transfer(1, "nobody", "nobody", 1, expires_at=PAST), Code.EXPIRED),
        (transfer(1, "nobody", "nobody", 1), Code.SAME_WALLET),
        (transfer(1, "nobody", "missing", 1), Code.SOURCE_NOT_FOUND),
        (transfer(1, "theirs", "missing", 1), Code.NOT_PERMITTED),
        (transfer(1, "ann", "missing", 1, "RWF"), Code.DESTINATION_NOT_FOUND),
        (transfer(1, "frozen", "closed", 1, "RWF"), Code.CURRENCY_MISMATCH),
        (transfer(1, "closed", "frozen", 1), Code.WALLET_FROZEN),
        (transfer(1, "closed", "full", 1000), Code.WALLET_CLOSED),
        (transfer(1, "ann", "full", 1000), Code.INSUFFICIENT_FUNDS),
        (open_wallet(1, "ben", "theirs"), Code.NOT_PERMITTED),
    ],
)
def test_the_first_broken_rule_in_the_contracts_order_is_the_answer(
    instruction: Instruction, expected: Code
):
    assert code(everything(), instruction) is expected


def everything() -> Books:
    return books_with(
        a_wallet("theirs", 100, client_id=OTHER_CLIENT),
        a_wallet("rwanda", 100, "RWF"),
        a_wallet("frozen", 100, status=WalletStatus.FROZEN),
        a_wallet("closed", 100, status=WalletStatus.CLOSED),
        ann=100,
        ben=0,
        full=BALANCE_MINOR_MAX,
    )


def test_a_granted_wallet_may_be_debited():
    books = replace(everything(), grants={wallet_id("theirs"): (1,)})

    assert code(books, transfer(1, "theirs", "ann", 1)) is None


def test_a_settlement_account_cannot_be_named_as_a_wallet():
    books = books_with(ann=100)
    account = books.settlements[1, "KES"]
    ann = wallet_id("ann")
    money = {"amount": 1, "currency": "KES"}
    to_it, from_it = (
        an_instruction(
            "transfer", key, data={"source_wallet_id": a, "destination_wallet_id": b, **money}
        )
        for key, a, b in ((1, ann, account), (2, account, ann))
    )

    posting = post(books, [to_it, from_it], NOW)

    assert codes(posting) == [Code.DESTINATION_NOT_FOUND, Code.SOURCE_NOT_FOUND]


def test_a_settlement_account_cannot_sink_beyond_what_a_browser_can_hold():
    books = books_with(a_settlement(balance=-BALANCE_MINOR_MAX), ann=0)

    assert code(books, deposit(1, "ann", 1)) is Code.BALANCE_OVERFLOW


def test_a_rejected_instruction_keeps_the_sources_seq_it_was_decided_at():
    batch = [transfer(1, "ann", "ben", 1), transfer(2, "ann", "ben", 1000)]

    posting = post(books_with(ann=100, ben=0), batch, NOW)

    assert [d.outcome.source_seq for d in posting.decisions] == [1, 1]


def test_books_without_the_settlement_account_are_a_fault_and_no_rejection():
    books = replace(books_with(ann=0), settlements={})

    with pytest.raises(SettlementMissing):
        post(books, [deposit(1, "ann", 1)], NOW)


@pytest.mark.parametrize(
    "account",
    [a_wallet("spendable"), a_settlement("KES", OTHER_CLIENT), a_settlement("RWF")],
    ids=["a customer's", "another client's", "in another currency"],
)
@pytest.mark.parametrize("order", [deposit, withdrawal])
def test_money_never_comes_or_goes_through_what_is_no_settlement_account(
    account: Wallet, order: Callable[[object, str, int], Instruction]
):
    books = books_with(ann=100)
    wrong = replace(
        books,
        wallets={**books.wallets, account.id: account},
        settlements={(CLIENT, "KES"): account.id},
    )

    with pytest.raises(SettlementForeign):
        post(wrong, [order(1, "ann", 1)], NOW)


def test_an_operator_rejects_what_was_parked_but_not_what_was_decided():
    books, instruction = books_with(ann=100, ben=0), transfer(1, "ann", "ben", 1)

    assert codes(reject(books, instruction, NOW)) == [Code.OPERATOR_REJECTED]
    decided = post(books, [instruction], NOW).decisions[0].outcome
    known = replace(books, outcomes={instruction.id: decided})
    assert codes(reject(known, instruction, NOW)) == [None]

"""What holds for any batch whatever."""

from hypothesis import given
from hypothesis import strategies as st

from domain.books import Answer, Books
from domain.instructions import Instruction
from domain.posting import post
from tests.bookkeeping import (
    NOW,
    OTHER_CLIENT,
    a_settlement,
    a_wallet,
    after,
    books_with,
    deposit,
    open_customer,
    open_wallet,
    transfer,
    withdrawal,
)

# Few keys, names and amounts: collisions are the point.
keys = st.integers(1, 9)
names = st.sampled_from(["ann", "ben", "cat", "theirs", "rwanda", "nobody", "new"])
amounts = st.integers(1, 150)
clients = st.sampled_from([1, 1, 1, OTHER_CLIENT])
currencies = st.sampled_from(["KES", "KES", "KES", "RWF"])

instructions: st.SearchStrategy[Instruction] = st.one_of(
    st.builds(transfer, keys, names, names, amounts, currencies, client_id=clients),
    st.builds(deposit, keys, names, amounts, currencies, client_id=clients),
    st.builds(withdrawal, keys, names, amounts, currencies, client_id=clients),
    st.builds(open_wallet, keys, names, names, currencies, clients),
    st.builds(open_customer, keys, names, clients, currencies=st.just(["KES"]) | st.none()),
)
batches = st.lists(instructions, max_size=25)


def start() -> Books:
    return books_with(
        a_wallet("theirs", 100, client_id=OTHER_CLIENT),
        a_wallet("rwanda", 100, "RWF"),
        a_settlement(floor=-200),
        ann=100,
        ben=100,
        cat=0,
    )


@given(batches)
def test_a_batch_equals_its_instructions_posted_one_by_one(batch: list[Instruction]):
    books, singly = start(), []
    for instruction in batch:
        posting = post(books, [instruction], NOW)
        singly += posting.decisions
        books = after(books, posting)

    whole = post(start(), batch, NOW)

    assert whole.decisions == singly
    assert after(start(), whole) == books


@given(batches)
def test_money_is_neither_made_nor_lost(batch: list[Instruction]):
    before = start()

    books = after(before, post(before, batch, NOW))

    for currency in ("KES", "RWF"):
        totals = [
            sum(w.balance for w in held.wallets.values() if w.currency == currency)
            for held in (before, books)
        ]
        assert totals[0] == totals[1]


@given(batches)
def test_no_balance_falls_below_its_floor_and_entries_are_numbered_without_gaps(
    batch: list[Instruction],
):
    before = start()
    seqs = {wallet.id: wallet.seq for wallet in before.wallets.values()}
    balances = {wallet.id: wallet.balance for wallet in before.wallets.values()}

    posting = post(before, batch, NOW)

    for wallet in posting.wallets.values():
        assert wallet.floor is None or wallet.balance >= wallet.floor
    for decision in posting.decided():
        for entry in decision.outcome.entries:
            seqs[entry.wallet_id] = seqs.get(entry.wallet_id, 0) + 1
            balances[entry.wallet_id] = balances.get(entry.wallet_id, 0) + entry.amount
            assert (entry.seq, entry.balance) == (
                seqs[entry.wallet_id],
                balances[entry.wallet_id],
            )


@given(batches)
def test_posting_a_batch_again_changes_nothing_and_gives_the_same_outcomes(
    batch: list[Instruction],
):
    first = post(start(), batch, NOW)
    books = after(start(), first)

    again = post(books, batch, NOW)

    assert again.wallets == {}
    assert again.customers == {}
    assert [d.outcome for d in again.decisions] == [d.outcome for d in first.decisions]
    assert all(d.answer is not Answer.DECIDED for d in again.decisions)


@given(batches)
def test_posting_touches_nothing_but_its_arguments(batch: list[Instruction]):
    books = start()

    post(books, batch, NOW)

    assert books == start()

"""A batch in one transaction, on the real Postgres."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text

from domain.books import Answer
from domain.errors import SettlementMissing
from domain.rejections import Code
from storage import partitions
from storage.engine import ledger_engine
from storage.ledger import Ledger, Paused
from storage.partitions import PartitionCountMismatch
from storage.verify import verify
from tests.bookkeeping import (
    CLIENT,
    NOW,
    OTHER_CLIENT,
    deposit,
    open_customer,
    open_wallet,
    transfer,
    wallet_id,
    withdrawal,
)
from tests.storage.conftest import Books
from tests.support import overheard


def balance(books: Books, name: str) -> int:
    ((found,),) = books.rows(
        "SELECT balance FROM wallets WHERE id = CAST(:id AS uuid)", id=wallet_id(name)
    )
    assert isinstance(found, int)
    return found


def test_a_transfer_is_one_row_with_both_legs(books: Books):
    books.open("ann", "ben")

    books.decide(transfer("t", "ann", "ben", 30, reference='a\tb\\c"ü', metadata={"k": 'v"\\'}))

    (row,) = books.rows(
        "SELECT amount, source_seq, source_balance, destination_seq, destination_balance,"
        " reference, metadata, rejection FROM instructions WHERE type = 'transfer'"
    )
    assert row == (30, 2, 70, 2, 130, 'a\tb\\c"ü', {"k": 'v"\\'}, None)
    assert (balance(books, "ann"), balance(books, "ben")) == (70, 130)


def test_every_type_is_decided_and_the_books_are_sound(books: Books):
    books.open("ann", "ben")
    decided = books.decide(
        transfer(1, "ann", "ben", 30),
        withdrawal(2, "ben", 20),
        deposit(3, "ann", 5),
        transfer(4, "ann", "nobody", 1),
        open_customer(5, "cat", currencies=["KES", "RWF"], email="c@example.org"),
        open_wallet(6, "cat", "cat"),
    )

    assert [d.outcome.status for d in decided.posting.decisions] == [
        "succeeded",
        "succeeded",
        "succeeded",
        "rejected",
        "succeeded",
        "succeeded",
    ]
    verdict = verify(books.engine)
    assert verdict.sound, verdict.findings
    assert verdict.counts["instructions"] == 12


def test_a_batch_posted_again_moves_nothing_and_gives_the_same_outcomes(books: Books):
    books.open("ann", "ben")
    batch = [transfer(1, "ann", "ben", 30), transfer(2, "ann", "ben", 1000)]

    first = books.decide(*batch)
    again = books.decide(*batch, *batch)

    outcomes = [d.outcome for d in first.posting.decisions]
    assert [d.outcome for d in again.posting.decisions] == outcomes * 2
    assert {d.answer for d in again.posting.decisions} == {Answer.REPLAYED}
    assert balance(books, "ann") == 70


def test_each_instruction_keeps_its_place_in_its_partitions_order(books: Books):
    books.open("ann", "ben")
    batch = [transfer(n, "ann", "ben", 1) for n in range(3)]

    books.decide(batch[0], partition=5)
    books.decide(batch[0], batch[1], transfer(9, "ann", "ben", 1000), batch[2], partition=5)

    rows = books.rows(
        "SELECT position, idempotency_key, source_seq FROM instructions"
        " WHERE partition = 5 ORDER BY position"
    )
    assert rows == [(1, "0", 2), (2, "1", 3), (3, "9", 3), (4, "2", 4)]


def test_a_batch_takes_the_same_number_of_statements_however_long_it_is(books: Books):
    books.open("ann", "ben")
    said = overheard(books.engine)
    books.decide(*(transfer(f"plan-{n}", "ann", "ben", 1) for n in range(3)))

    for size in (1, 100):
        said.clear()
        books.decide(*(transfer(f"{size}-{n}", "ann", "ben", 1) for n in range(size)))
        assert [each.strip() for each in said] == [
            "BEGIN; EXECUTE take_partition",
            "EXECUTE lock_wallets",
            "COPY instructions",
            "EXECUTE move_wallets",
            "EXECUTE write_events",
            "COMMIT",
        ]


def test_a_repeat_that_nobody_expected_has_its_batch_run_again_and_the_next_is_looked_for(
    books: Books,
):
    books.open("ann", "ben")
    batch = [transfer(n, "ann", "ben", 1) for n in range(5)]
    first = books.decide(*batch[:1]).posting.decisions[0].outcome
    said = overheard(books.engine)

    unexpected = books.decide(*batch[:3])
    runs = [each.strip() for each in said if each.startswith(("BEGIN", "ROLLBACK", "COMMIT"))]
    said.clear()
    expected = books.decide(*batch)

    taken = "BEGIN; EXECUTE take_partition"
    assert runs == [taken, "ROLLBACK", taken, "COMMIT"]
    assert "ROLLBACK" not in said
    replayed, decided = Answer.REPLAYED, Answer.DECIDED
    assert [d.answer for d in unexpected.posting.decisions] == [replayed, decided, decided]
    assert [d.answer for d in expected.posting.decisions] == 3 * [replayed] + 2 * [decided]
    assert expected.posting.decisions[0].outcome == first
    assert (balance(books, "ann"), balance(books, "ben")) == (95, 105)
    assert verify(books.engine).sound


def test_a_fault_while_decisions_are_being_stored_is_told_as_it_is_and_undoes_them(
    books: Books, monkeypatch: pytest.MonkeyPatch
):
    books.open("ann", "ben")
    many = [transfer(n, "ann", "ben", 1) for n in range(60)]
    with monkeypatch.context() as patch:
        patch.setattr(
            books.ledger._settlements, "needed_by", lambda *_: {(CLIENT, "KES"): wallet_id("none")}
        )
        with pytest.raises(SettlementMissing):
            books.decide(*many, deposit("d", "ann", 1))

    assert balance(books, "ann") == 100
    assert books.rows("SELECT 1 FROM instructions WHERE type = 'transfer'") == []
    assert books.decide(many[0]).posting.decisions[0].answer is Answer.DECIDED


def test_rights_are_decided_in_the_posting_transaction(books: Books):
    books.open("ann", "ben")
    books.open("theirs", client_id=OTHER_CLIENT)
    refused, allowed = transfer(1, "theirs", "ann", 1), transfer(2, "theirs", "ann", 1)

    first = books.decide(refused).posting.decisions[0].outcome
    with books.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO grants (client_id, wallet_id) VALUES (1, CAST(:id AS uuid))"),
            {"id": wallet_id("theirs")},
        )
    second = books.decide(allowed).posting.decisions[0].outcome

    assert first.rejection is not None
    assert first.rejection.code is Code.NOT_PERMITTED
    assert second.status == "succeeded"


def test_a_payees_balance_is_not_in_the_view_of_a_foreign_payer(books: Books):
    books.open("ann")
    books.open("theirs", client_id=OTHER_CLIENT)

    ((_, view),) = books.decide(transfer(1, "ann", "theirs", 1)).views()

    assert [entry["wallet_id"] for entry in view["result"]["entries"]] == [wallet_id("ann")]


def test_deposits_of_two_partitions_use_two_stripes_of_the_settlement_account(books: Books):
    books.open("ann", "ben")
    books.decide(deposit(1, "ann", 1), partition=1)
    books.decide(deposit(2, "ann", 1), partition=2)

    stripes = books.rows(
        "SELECT stripe, balance FROM wallets WHERE customer_id IS NULL ORDER BY stripe"
    )
    assert stripes == [(0, -200), (1, -1), (2, -1)]


def test_the_id_of_a_settlement_account_is_drawn_by_lot(books: Books):
    """Callers choose ids: one that could be computed could be taken, and others' money with it."""
    books.open("ann")
    books.decide(withdrawal(1, "ann", 1), partition=3)

    ids = [UUID(str(id_)) for (id_,) in books.rows("SELECT id FROM wallets WHERE stripe >= 0")]

    assert [id_.version for id_ in ids] == [4, 4]


def test_an_account_with_a_floor_is_one_stripe_whatever_the_partition(books: Books):
    books.open("ann")
    with books.engine.begin() as connection:
        connection.execute(text("INSERT INTO settlement_floors VALUES (2, 'KES', -50)"))

    outcomes = [
        books.decide(deposit(n, "ann", 30, client_id=OTHER_CLIENT), partition=n) for n in (1, 2)
    ]

    assert [o.posting.decisions[0].outcome.status for o in outcomes] == ["succeeded", "rejected"]


def test_a_paused_partition_decides_nothing_and_goes_on_when_resumed(books: Books):
    books.open("ann", "ben")
    partitions.pause(books.engine, 3, "test", "a test")

    with pytest.raises(Paused):
        books.decide(transfer(1, "ann", "ben", 1), partition=3)
    assert balance(books, "ann") == 100

    assert partitions.resume(books.engine, 3, "test", "a test")
    books.decide(transfer(1, "ann", "ben", 1), partition=3)
    assert balance(books, "ann") == 99


def test_a_process_with_another_partition_count_is_refused(books: Books):
    with pytest.raises(PartitionCountMismatch, match="8 partitions"):
        Ledger(books.engine, 16).check_partitions()


def test_two_workers_that_both_believe_to_be_the_one_take_turns(books: Books):
    books.open("ann", "ben")
    other_engine = ledger_engine(books.settings)
    ledgers = [books.ledger, Ledger(other_engine, 8)]
    batch = [transfer(n, "ann", "ben", 1) for n in range(50)]
    together = threading.Barrier(2)

    def run(ledger: Ledger) -> None:
        together.wait()
        for start in range(0, 50, 5):
            ledger.decide(0, batch[start : start + 5], lambda: NOW)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, ledgers))

    order = books.rows(
        "SELECT idempotency_key FROM instructions WHERE type = 'transfer' ORDER BY position"
    )
    assert order == [(str(n),) for n in range(50)]
    assert balance(books, "ann") == 50
    other_engine.dispose()


def test_storms_between_two_wallets_over_two_partitions_neither_lose_nor_deadlock(books: Books):
    books.open("ann", "ben")
    other_engine = ledger_engine(books.settings)
    work = [
        (0, books.ledger, [transfer(f"ab{n}", "ann", "ben", 1) for n in range(300)]),
        (1, Ledger(other_engine, 8), [transfer(f"ba{n}", "ben", "ann", 1) for n in range(300)]),
    ]

    def run(job: tuple[int, Ledger, list[object]]) -> None:
        partition, ledger, batch = job
        for start in range(0, 300, 10):
            ledger.decide(partition, batch[start : start + 10], lambda: NOW)  # type: ignore[arg-type]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, work))

    assert (balance(books, "ann"), balance(books, "ben")) == (100, 100)
    assert verify(books.engine).sound
    other_engine.dispose()


def test_an_operator_rejects_a_parked_instruction_once_and_for_all(books: Books):
    books.open("ann", "ben")
    instruction = transfer(1, "ann", "ben", 1)
    seen: list[object] = []

    decided = books.ledger.reject(instruction, lambda: NOW, seen.append)

    rejection = decided.posting.decisions[0].outcome.rejection
    assert rejection is not None
    assert rejection.code is Code.OPERATOR_REJECTED
    assert len(seen) == 1
    replayed = books.decide(instruction).posting.decisions[0]
    assert replayed.outcome.rejection == rejection
    assert verify(books.engine).sound

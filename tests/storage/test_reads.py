"""What a client may see, and that it sees nothing else."""

from domain.fields import timestamp_text
from domain.instructions import encode
from storage import parked, reads
from storage.engine import read_engine
from tests.bookkeeping import (
    CLIENT,
    NOW,
    OTHER_CLIENT,
    customer_id,
    deposit,
    open_customer,
    transfer,
    wallet_id,
    withdrawal,
)
from tests.storage.conftest import Books

UNKNOWN = wallet_id("nobody")


def test_a_decided_instruction_reads_as_it_was_announced(books: Books):
    books.open("ann", "ben")
    books.open("theirs", client_id=OTHER_CLIENT)
    decided = books.decide(
        transfer(1, "ann", "ben", 30, reference="r", metadata={"a": "b"}),
        transfer(2, "ann", "theirs", 1, expires_at="2026-11-23T11:00:00Z"),
        transfer(3, "ann", "ben", 1000),
        deposit(4, "theirs", 5),
        deposit(5, "ann", 5),
        withdrawal(6, "ann", 5),
        withdrawal(7, "nobody", 5),
        open_customer(8, "cat", currencies=["KES"], legacy_id="old-8"),
        open_customer(9, "cat"),
    )

    for decision, view in decided.views():
        assert reads.instruction(books.engine, CLIENT, decision.instruction.id) == view


def test_a_repeat_that_was_submitted_later_is_shown_as_it_was_first_submitted(books: Books):
    books.open("ann", "ben")
    first = transfer(1, "ann", "ben", 30)
    later = first.model_copy(update={"submitted_at": timestamp_text(NOW)})
    books.decide(first)

    decided = books.decide(later)

    view = decided.view(decided.posting.decisions[0])
    assert view["submitted_at"] == first.submitted_at
    assert view == reads.instruction(books.engine, CLIENT, first.id)


def test_another_clients_instruction_is_not_there(books: Books):
    books.open("ann", "ben")
    instruction = transfer(1, "ann", "ben", 30)
    books.decide(instruction)

    assert reads.instruction(books.engine, OTHER_CLIENT, instruction.id) is None
    assert reads.instruction(books.engine, CLIENT, UNKNOWN) is None
    assert reads.fingerprint(books.engine, CLIENT, instruction.id) == instruction.fingerprint


def test_a_parked_instruction_is_shown_as_parked_to_its_client_only(books: Books):
    instruction = transfer(1, "ann", "ben", 30)
    body = encode(instruction)
    parked.park(books.engine, 0, body, {}, "a test", instruction.id, NOW)

    view = reads.instruction(books.engine, CLIENT, instruction.id)

    assert view is not None
    assert view["status"] == "parked"
    assert reads.instruction(books.engine, OTHER_CLIENT, instruction.id) is None


def test_entries_are_read_from_either_end_without_gaps_or_repeats(books: Books):
    books.open("ann", "ben")
    for n in range(3):
        books.decide(transfer(f"t{n}", "ann", "ben", 1), transfer(f"b{n}", "ben", "ann", 2))

    newest = reads.entries(books.engine, CLIENT, wallet_id("ann"), 3)
    assert newest is not None
    older = reads.entries(books.engine, CLIENT, wallet_id("ann"), 9, before_seq=newest[-1]["seq"])
    oldest = reads.entries(books.engine, CLIENT, wallet_id("ann"), 9, after_seq=0)

    assert older is not None
    assert oldest is not None
    assert [e["seq"] for e in newest + older] == [7, 6, 5, 4, 3, 2, 1]
    assert [e["seq"] for e in oldest] == [1, 2, 3, 4, 5, 6, 7]
    assert [e["balance"] for e in oldest] == [100, 99, 101, 100, 102, 101, 103]
    assert oldest[0]["counterparty_wallet_id"] is None
    assert oldest[1]["counterparty_wallet_id"] == wallet_id("ben")


def test_metadata_is_seen_by_its_submitter_only_and_the_reference_by_both_sides(books: Books):
    books.open("ann")
    books.open("theirs", client_id=OTHER_CLIENT)
    books.decide(transfer(1, "ann", "theirs", 1, reference="rent", metadata={"mine": "yes"}))

    mine = reads.entries(books.engine, CLIENT, wallet_id("ann"), 1)
    theirs = reads.entries(books.engine, OTHER_CLIENT, wallet_id("theirs"), 1)

    assert mine is not None
    assert theirs is not None
    assert (mine[0]["reference"], mine[0]["metadata"]) == ("rent", {"mine": "yes"})
    assert (theirs[0]["reference"], theirs[0]["metadata"]) == ("rent", None)


def test_wallets_and_customers_are_their_clients_alone(books: Books):
    books.open("ann")
    ((settlement,),) = books.rows("SELECT id FROM wallets WHERE customer_id IS NULL")

    assert reads.wallet(books.engine, CLIENT, wallet_id("ann")) is not None
    assert reads.customer(books.engine, CLIENT, customer_id("ann")) is not None
    for client, wallet in ((OTHER_CLIENT, wallet_id("ann")), (CLIENT, str(settlement))):
        assert reads.wallet(books.engine, client, wallet) is None
        assert reads.entries(books.engine, client, wallet, 5) is None
    assert reads.customer(books.engine, OTHER_CLIENT, customer_id("ann")) is None
    assert reads.wallets_of_customer(books.engine, OTHER_CLIENT, customer_id("ann"), 5) == []


def test_lists_go_on_after_the_last_id(books: Books):
    batch = [open_customer(n, f"c{n}", legacy_id="old", currencies=["KES"] * 3) for n in range(3)]
    books.decide(*batch)

    first = reads.customers_by_legacy_id(books.engine, CLIENT, "old", 2)
    rest = reads.customers_by_legacy_id(books.engine, CLIENT, "old", 2, first[-1]["id"])
    wallets = reads.wallets_of_customer(books.engine, CLIENT, customer_id("c1"), 2)
    more = reads.wallets_of_customer(books.engine, CLIENT, customer_id("c1"), 2, wallets[-1]["id"])

    assert {c["id"] for c in first + rest} == {customer_id(f"c{n}") for n in range(3)}
    assert len({w["id"] for w in wallets + more}) == 3
    assert reads.customers_by_legacy_id(books.engine, OTHER_CLIENT, "old", 2) == []


def test_a_wallet_says_what_could_be_spent_now(books: Books):
    books.open("ann")

    view = reads.wallet(books.engine, CLIENT, wallet_id("ann"))

    assert view is not None
    assert (view["balance"], view["available"], view["exponent"]) == (100, 100, 2)
    assert (view["seq"], view["status"]) == (1, "open")


def test_reads_answer_through_the_engine_that_the_api_uses(books: Books):
    books.open("ann")
    engine = read_engine(books.settings)

    reads.ready(engine)
    assert reads.wallet(engine, CLIENT, wallet_id("ann")) is not None
    engine.dispose()

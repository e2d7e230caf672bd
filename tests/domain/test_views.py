"""What a submitter sees."""

from domain.posting import post
from domain.views import outcome_view, queued_view
from tests.bookkeeping import NOW, books_with, open_customer, open_wallet, transfer, wallet_id


def test_a_payer_never_learns_the_payees_balance():
    instruction = transfer(1, "ann", "ben", 250)
    outcome = post(books_with(ann=1000, ben=77), [instruction], NOW).decisions[0].outcome

    view = outcome_view(instruction, outcome, lambda wallet: wallet == wallet_id("ann"))

    assert view["result"] == {
        "entries": [
            {
                "wallet_id": wallet_id("ann"),
                "seq": 1,
                "amount": -250,
                "balance": 750,
                "currency": "KES",
                "exponent": 2,
            }
        ]
    }
    assert "327" not in str(view)


def test_a_rejection_carries_its_numbers_as_fields():
    instruction = transfer(1, "ann", "ben", 250)
    outcome = post(books_with(ann=100, ben=0), [instruction], NOW).decisions[0].outcome

    view = outcome_view(instruction, outcome, lambda _: True)

    assert view["status"] == "rejected"
    assert view["result"] is None
    assert view["rejection"] == {
        "code": "insufficient_funds",
        "detail": "The wallet has too little money.",
        "wallet_id": wallet_id("ann"),
        "available": 100,
        "required": 250,
    }


def test_data_is_shown_as_given_with_the_ids_we_chose():
    instruction = open_customer(1, "Ann", customer_id=None, currencies=["RWF"])

    view = queued_view(instruction)

    assert view["data"]["customer_id"] == instruction.customer_id
    assert "email" not in view["data"]
    outcome = post(books_with(), [instruction], NOW).decisions[0].outcome
    result = outcome_view(instruction, outcome, lambda _: True)["result"]
    ((first, _),) = instruction.wallets()
    assert result["wallets"] == [{"wallet_id": first, "currency": "RWF", "exponent": 0}]


def test_an_opened_wallet_is_named():
    instruction = open_wallet(2, "ann", "ann")
    outcome = post(books_with(), [open_customer(1, "ann"), instruction], NOW).decisions[1].outcome

    assert outcome_view(instruction, outcome, lambda _: True)["result"] == {
        "wallet_id": wallet_id("ann")
    }

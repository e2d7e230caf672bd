"""What a partner publishes is receipted, decided and told of, in its order."""

from tests.partners.house import RECEIPTS, PartnerHouse


def test_a_deposit_is_receipted_decided_and_told_of(house: PartnerHouse) -> None:
    bank = house.partner()
    house.inbox().ready()
    house.worker().ready()
    message = bank.deposit(house.names[0], 250, "invoice-4711")

    bank.send(message, message_id="m-1")

    [receipt] = bank.await_events(1, *RECEIPTS)
    assert receipt.type == "instruction.accepted"
    assert receipt.properties.message_id == receipt.event["id"]
    assert receipt.properties.type == "instruction.accepted"
    assert receipt.properties.content_type == "application/json"
    assert receipt.properties.delivery_mode == 2
    assert receipt.event["version"] == 1
    assert receipt.data == {
        "id": bank.instruction_id("invoice-4711"),
        "idempotency_key": "invoice-4711",
        "type": "deposit",
        "status": "queued",
        "submitted_at": receipt.event["timestamp"],
        "data": message["data"],
    }
    house.await_decided(["invoice-4711"])
    assert house.receipts(bank) == [
        {name: value for name, value in receipt.event.items() if name != "version"}
    ]
    house.assert_books_whole()

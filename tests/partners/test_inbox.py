"""What a partner publishes is receipted, decided and told of, in its order."""

import time

from sqlalchemy import text

from storage.partners import set_rate
from tests.partners.house import RECEIPTS, PartnerHouse
from tests.support import wait_until


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
        "id": bank.instruction_id(message["idempotency_key"]),
        "idempotency_key": message["idempotency_key"],
        "type": "deposit",
        "status": "queued",
        "submitted_at": receipt.event["timestamp"],
        "data": message["data"],
    }
    house.await_decided([message["idempotency_key"]])
    assert house.receipts(bank) == [receipt.event]
    house.assert_books_whole()


def test_what_comes_in_is_decided_in_the_order_it_was_published(house: PartnerHouse) -> None:
    bank = house.partner()
    keys = [bank.named(f"k{number}") for number in range(1, 1201)]
    bank.flood(bank.deposit(house.names[n % 5]) for n in range(1200))

    house.everything()

    house.await_decided(keys)
    bank.await_events(len(keys), "instruction.succeeded", distinct=True)
    assert [each.key for each in bank.of(*RECEIPTS)] == keys
    house.assert_each_once_and_in_order(bank, keys)
    house.assert_all_acknowledged()


def test_a_key_that_comes_again_is_receipted_and_its_outcome_told_again(
    house: PartnerHouse,
) -> None:
    bank = house.partner()
    house.everything()
    message = bank.deposit(house.names[0], 7)
    bank.send(message)
    [first] = bank.await_events(1, "instruction.succeeded")

    bank.send(message, message)

    outcomes = bank.await_events(3, "instruction.succeeded")
    assert [each.event for each in outcomes] == [first.event] * 3
    receipts = bank.of(*RECEIPTS)
    assert len({each.event["id"] for each in receipts}) == 1
    assert [each.type for each in bank.seen if each.type != "entry.posted"] == [
        *("instruction.accepted", "instruction.succeeded"),
        *("instruction.accepted", "instruction.succeeded"),
        *("instruction.accepted", "instruction.succeeded"),
    ]
    assert house.decided().count(message["idempotency_key"]) == 1


def test_a_key_with_another_body_is_refused_before_and_after_it_is_decided(
    house: PartnerHouse,
) -> None:
    bank = house.partner()
    house.inbox().ready()
    key = bank.named("k")
    bank.send(bank.deposit(house.names[0], 1, "k"), bank.deposit(house.names[0], 2, "k"))
    bank.send(bank.deposit(house.names[0], 3, "k"))
    bank.await_events(3, *RECEIPTS)
    house.worker().ready()
    house.await_decided([key])
    bank.send(bank.deposit(house.names[0], 4, "k"), bank.deposit(house.names[0], 1, "k"))

    receipts = bank.await_events(5, *RECEIPTS)

    codes = [each.data.get("problem", {}).get("code") for each in receipts]
    assert codes == [None, *["idempotency_key_reused"] * 3, None]
    assert all(each.key == key for each in receipts)
    house.assert_books_whole()


def test_personal_data_is_in_no_receipt(house: PartnerHouse) -> None:
    bank = house.partner()
    house.inbox().ready()
    data = {"name": "Ama Mensah", "phone": "+233200000000", "email": "a@b", "country": "GH"}

    bank.send(
        {
            "version": 1,
            "idempotency_key": bank.named("k"),
            "type": "customer.open",
            "data": data,
        }
    )

    [receipt] = bank.await_events(1, *RECEIPTS)
    assert receipt.type == "instruction.accepted", receipt.data
    assert receipt.data["data"].keys() == {"country", "customer_id"}


def test_a_suspended_partner_is_refused_at_the_next_message_with_the_reason(
    house: PartnerHouse,
) -> None:
    bank, other = house.partner(), house.partner()
    house.inbox().ready()
    bank.send(bank.deposit("w"))
    bank.await_events(1, *RECEIPTS)

    house.suspend(bank, "unpaid since May")
    bank.send(bank.deposit("w", key="k"))
    other.send(other.deposit("w"))

    _, refusal = bank.await_events(2, *RECEIPTS)
    assert refusal.data["problem"]["code"] == "forbidden"
    assert refusal.data["problem"]["detail"] == "unpaid since May"
    assert refusal.key == bank.named("k")
    assert other.await_events(1, *RECEIPTS)[0].type == "instruction.accepted", other.seen
    house.resume(bank)
    bank.send(bank.deposit("w", key="k"))
    assert bank.await_events(3, *RECEIPTS)[-1].event["type"] == "instruction.accepted", bank.seen[
        -1
    ].data


def test_a_rate_slows_its_partner_drops_nothing_and_slows_nobody_else(
    house: PartnerHouse,
) -> None:
    slow, other = house.partner(rate_per_s=40), house.partner()
    house.inbox().ready()
    slow.flood(slow.deposit("w") for _ in range(200))
    slow.await_events(1, *RECEIPTS)
    began_at = time.monotonic()

    other.send(other.deposit("w"))
    other.await_events(1, *RECEIPTS)

    assert time.monotonic() - began_at < 2
    assert len(slow.of(*RECEIPTS)) < 100
    slow.await_events(200, *RECEIPTS)
    # A tenth of forty at once, and the rest at forty a second.
    assert 3 < time.monotonic() - began_at < 20
    assert [each.key for each in slow.of(*RECEIPTS)] == [slow.named(f"k{n}") for n in range(1, 201)]


def test_a_rate_that_is_raised_counts_at_once_and_disturbs_no_order(house: PartnerHouse) -> None:
    bank = house.partner(rate_per_s=1)
    house.inbox().ready()
    bank.flood(bank.deposit("w") for _ in range(300))
    bank.await_events(1, *RECEIPTS)

    with house.engine.begin() as connection:
        set_rate(connection, bank.name, 10_000, who="tests", reason="a payroll")

    bank.await_events(300, *RECEIPTS, distinct=True)
    firsts = dict.fromkeys(each.key for each in bank.of(*RECEIPTS))
    assert [*firsts] == [bank.named(f"k{n}") for n in range(1, 301)]


def test_a_rate_that_changes_while_a_turn_is_taken_stops_nobody(house: PartnerHouse) -> None:
    bank = house.partner(rate_per_s=100)
    worker = house.inbox().ready()
    with house.engine.begin() as connection:
        connection.execute(text("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
        bank.flood(bank.deposit("w") for _ in range(60))
        house.await_inbox_blocked()
        with house.engine.begin() as operators:
            set_rate(operators, bank.name, 200, who="tests", reason="more")
        wait_until(lambda: len(worker.logged("reading a partner's inbox")) == 2)

    bank.await_events(60, *RECEIPTS, distinct=True)
    firsts = dict.fromkeys(each.key for each in bank.of(*RECEIPTS))
    assert [*firsts] == [bank.named(f"k{n}") for n in range(1, 61)]


def test_partners_come_and_go_while_the_worker_runs(house: PartnerHouse) -> None:
    stays = house.partner()
    worker = house.inbox().ready()

    comes = house.partner()
    comes.send(comes.deposit("w"))
    comes.await_events(1, *RECEIPTS)
    house.remove(comes)
    stays.send(stays.deposit("w"))

    stays.await_events(1, *RECEIPTS)
    assert worker.process.poll() is None
    assert worker.logged("a partner is removed")


def test_a_queue_that_is_gone_stops_nobody_and_is_read_again_when_it_is_back(
    house: PartnerHouse,
) -> None:
    bank, other = house.partner(), house.partner()
    worker = house.inbox().ready()
    for queue in (f"in.{bank.name}", f"out.{other.name}"):
        house.manage("DELETE", f"queues/{house.vhost}/{queue}")
    wait_until(lambda: worker.logged("a partner's inbox is gone"))

    other.send(other.deposit("w"))
    wait_until(lambda: house.receipts(other))
    house.provision_again(bank)
    bank.send(bank.deposit("w"))

    bank.await_events(1, *RECEIPTS)
    assert worker.process.poll() is None
    assert len(worker.logged("a partner's queue is gone")) == 1

"""Partners are removed while the inbox worker reads what they sent."""

import pytest

from config import broker
from ops.errors import OperatorError
from ops.partners import Provisioning
from ops.queues import depths_of
from storage.partners import active, suspend
from tests.partners.house import RECEIPTS, Bank, PartnerHouse
from tests.support import wait_until

IN_HAND = 3
"""With a rate of 1/s: one is passed on at once, and two wait in the worker's hand for a second."""

BY = {"who": "tests", "reason": "contract ended"}


def test_what_the_worker_has_in_hand_is_passed_on_first(house: PartnerHouse) -> None:
    bank, other = house.partner(rate_per_s=1), house.partner()
    worker = house.inbox().ready()
    bank.send(*(bank.deposit(house.names[0]) for _ in range(IN_HAND)))
    wait_until(lambda: waiting(house, bank) == 0, what="all of it in the worker's hand")
    assert len(house.receipts(bank)) < IN_HAND

    lost = provisioning(house).remove(bank.name, force=False, **BY)

    assert lost == 0
    receipts = house.receipts(bank)
    assert [each["type"] for each in receipts] == ["instruction.accepted"] * IN_HAND
    assert bank.name not in [each.name for each in active(house.engine)]
    assert_reads(other, house)
    assert worker.process.poll() is None


def test_without_a_worker_nothing_is_thrown_away_unasked(house: PartnerHouse) -> None:
    bank = house.partner()
    bank.send(*(bank.deposit(house.names[0]) for _ in range(3)))

    with pytest.raises(OperatorError, match="3 messages wait"):
        provisioning(house).remove(bank.name, force=False, **BY)

    house.inbox().ready()
    bank.await_events(3, *RECEIPTS)


def test_by_force_it_is_gone_at_once_and_the_worker_reads_on(house: PartnerHouse) -> None:
    bank, other = house.partner(rate_per_s=1), house.partner()
    worker = house.inbox().ready()
    bank.send(*(bank.deposit(house.names[0]) for _ in range(50)))
    wait_until(lambda: house.receipts(bank), what="some of it passed on")

    lost = provisioning(house).remove(bank.name, force=True, **BY)

    assert lost > 40
    assert_reads(other, house)
    assert worker.process.poll() is None


def test_the_inbox_of_a_suspended_partner_empties_itself(house: PartnerHouse) -> None:
    bank = house.partner()
    with house.engine.begin() as connection:
        suspend(connection, bank.name, **BY)
    bank.send(*(bank.deposit(house.names[0]) for _ in range(5)))
    house.inbox().ready()

    refusals = bank.await_events(5, "instruction.refused")

    assert {each.data["problem"]["detail"] for each in refusals} == {"contract ended"}
    assert provisioning(house).remove(bank.name, force=False, **BY) == 0


def provisioning(house: PartnerHouse) -> Provisioning:
    return Provisioning(house.settings, house.engine)


def waiting(house: PartnerHouse, bank: Bank) -> int:
    """Messages that no worker has been given."""
    queue = broker.inbox_queue(bank.name).name
    return depths_of(house.settings.broker_url.get_secret_value(), [queue])[queue].messages


def assert_reads(bank: Bank, house: PartnerHouse) -> None:
    """The worker goes on reading this partner's inbox."""
    bank.send(bank.deposit(house.names[0]))
    bank.await_events(1, *RECEIPTS)

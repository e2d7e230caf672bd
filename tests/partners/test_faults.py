"""Services that go away while partners publish: held in place, nothing refused, nothing lost."""

import contextlib
import itertools
import threading

from pika.exceptions import AMQPError, NackError, UnroutableError

from tests.partners.house import RECEIPTS, Bank, PartnerHouse
from tests.support import wait_until


class Stream:
    """A partner that publishes without a pause, and knows what the broker promised to keep."""

    def __init__(self, house: PartnerHouse, bank: Bank) -> None:
        self.promised: list[str] = []
        self._house = house
        self._bank = bank
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _publish(self) -> None:
        for number in itertools.count():
            message = self._bank.deposit(self._house.names[number % 4])
            key = message["idempotency_key"]
            while not self._ended.is_set() and key not in self.promised[-1:]:
                # What is not confirmed is published again, as the contract says.
                with contextlib.suppress(AMQPError, NackError, UnroutableError, OSError):
                    self._bank.send(message)
                    self.promised.append(key)
            if self._ended.is_set():
                return


def test_every_message_that_a_broker_promised_reaches_its_outcome_though_it_restarts(
    house: PartnerHouse,
) -> None:
    bank = house.partner()
    house.everything()
    house.beat().ready()
    stream = Stream(house, bank)
    try:
        wait_until(lambda: len(stream.promised) > 20)
        house.services.rabbitmq.stop()
        house.services.rabbitmq.start()
        known = len(stream.promised)
        wait_until(lambda: len(stream.promised) > known + 20, 60)
    finally:
        stream.end()

    house.await_decided(stream.promised, timeout_s=60)
    bank.await_events(len(stream.promised), "instruction.succeeded", distinct=True, timeout_s=60)
    house.assert_each_once_and_in_order(bank, stream.promised)
    assert not bank.of("instruction.refused")
    house.assert_all_acknowledged()


def test_while_postgres_or_redis_is_away_messages_are_held_in_place_and_never_refused(
    house: PartnerHouse,
) -> None:
    bank = house.partner()
    worker = house.inbox().ready()
    house.worker().ready()
    sent = []
    for service in (house.services.postgres, house.services.redis):
        messages = [bank.deposit(house.names[0]) for _ in range(20)]
        service.stop()
        try:
            bank.send(*messages)
            if service is house.services.postgres:
                wait_until(lambda: worker.logged("held in place"))
        finally:
            service.start()
        sent += [message["idempotency_key"] for message in messages]
        house.await_decided(sent)

    receipts = bank.await_events(len(sent), *RECEIPTS)
    assert list(dict.fromkeys(each.key for each in receipts)) == sent
    assert {each.type for each in receipts} == {"instruction.accepted"}
    assert [key for key in house.decided() if key in sent] == sent
    assert worker.process.poll() is None
    house.assert_all_acknowledged()

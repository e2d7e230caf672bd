"""An inbox worker that is killed at the worst moments: one instruction, its receipt first."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from tests.partners.house import Bank, PartnerHouse
from tests.support import wait_until
from tests.workers.house import Worker
from tests.workers.proxy import Proxy

KILLS = 3
COUNT = 30

ACKNOWLEDGE = re.compile(rb"\x01..\x00\x00\x00\x0d\x00\x3c\x00\x50.{9}\xce", re.DOTALL)


class Crash:
    """How to bring an inbox worker to a point where it is killed."""

    def __init__(self, house: PartnerHouse, bank: Bank) -> None:
        self.house = house
        self.bank = bank

    def worker(self) -> Worker:
        return self.house.inbox()

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is published in here is not acknowledged by the worker."""
        raise NotImplementedError

    def reached(self, keys: Sequence[str]) -> None:
        """Return once the worker is at the point."""
        raise NotImplementedError


class BeforeTheReceipt(Crash):
    """The table of events is locked by somebody else."""

    @contextmanager
    def held(self) -> Iterator[None]:
        with self.house.engine.connect() as connection:
            connection.execute(text("LOCK TABLE events IN SHARE MODE"))
            yield

    def reached(self, keys: Sequence[str]) -> None:
        self.house.await_inbox_blocked()


class BetweenReceiptAndForward(Crash):
    """The partner has its receipts, and no partition takes a message."""

    @contextmanager
    def held(self) -> Iterator[None]:
        with self.house.partitions_unbound():
            yield

    def reached(self, keys: Sequence[str]) -> None:
        # Those behind the first ones wait until these are passed on.
        wait_until(lambda: any(each.key in keys for each in self.bank.read()))


class BetweenForwardAndAcknowledge(Crash):
    """Everything is decided, and no acknowledgement reaches the broker."""

    def worker(self) -> Worker:
        url = urlsplit(self.house.settings.broker_url.get_secret_value())
        self.proxy = Proxy(str(url.hostname), url.port or 0)
        through = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{self.proxy.port}")
        return self.house.inbox(broker_url=SecretStr(through.geturl()))

    @contextmanager
    def held(self) -> Iterator[None]:
        self.proxy.lose = ACKNOWLEDGE
        yield
        self.proxy.close()

    def reached(self, keys: Sequence[str]) -> None:
        self.house.await_decided(keys)


@pytest.mark.parametrize(
    "point", [BeforeTheReceipt, BetweenReceiptAndForward, BetweenForwardAndAcknowledge]
)
def test_an_inbox_worker_that_is_killed_leaves_one_instruction_with_its_receipt_first(
    house: PartnerHouse, point: Callable[[PartnerHouse, Bank], Crash]
) -> None:
    bank = house.partner()
    crash = point(house, bank)
    house.worker().ready()
    house.callbacks().ready()
    keys: list[str] = []
    for round_number in range(KILLS):
        worker = crash.worker().ready()
        house.await_decided(keys)
        messages = [
            bank.deposit(house.names[number % 3], 1, f"r{round_number}-{number}")
            for number in range(COUNT)
        ]
        batch = [str(message["idempotency_key"]) for message in messages]
        keys += batch
        with crash.held():
            bank.send(*messages)
            crash.reached(batch)
            worker.kill()

    house.inbox().ready()
    bank.await_events(len(keys), "instruction.succeeded", distinct=True)

    house.assert_each_once_and_in_order(bank, keys)
    house.assert_all_acknowledged()
    assert house.inbox_left(bank) == 0

"""What is committed is handed on at once if somebody waits, and never at the ledger's expense."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from config import broker
from storage.events import Written
from tests.bookkeeping import CLIENT
from tests.storage.telling import add_endpoint
from tests.support import wait_until
from tests.workers.house import House
from tests.workers.proxy import Proxy
from workers.callbacks.app import HAND_ON, callbacks_app
from workers.handover import TOLD_AT_ONCE, WAITING_MOST, Handover

Messages = list[tuple[dict[str, Any], Any]]


def messages(house: House) -> Messages:
    """What waits for the callback workers: the headers and the arguments of each message."""
    found: Messages = []
    with house.channel() as channel:
        while True:
            method, properties, body = channel.basic_get(broker.CALLBACK_EVENTS, auto_ack=True)
            if method is None or properties is None or body is None:
                return found
            arguments, _, _ = json.loads(body)
            found.append((dict(properties.headers or {}), arguments))


def awaited_messages(house: House, enough: Callable[[Messages], bool] = bool) -> Messages:
    found: Messages = []

    def come() -> bool:
        found.extend(messages(house))
        return enough(found)

    wait_until(come, what="messages")
    return found


def pending(house: House) -> list[Written]:
    """Of rows that are all one client's."""
    rows = house.rows("SELECT at, xact, cardinality(instruction_ids) FROM events WHERE pending")
    return [Written(*row) for row in rows]


def places(told: Messages) -> list[Written]:
    return [
        Written(datetime.fromisoformat(at), xact, instructions)
        for _, (refs,) in told
        for at, xact, instructions in refs
    ]


@pytest.fixture
def proxy_to_broker(house: House) -> Iterator[Proxy]:
    url = urlsplit(house.settings.broker_url.get_secret_value())
    with Proxy(str(url.hostname), url.port or 0) as proxy:
        yield proxy


def through(house: House, proxy: Proxy) -> SecretStr:
    url = urlsplit(house.settings.broker_url.get_secret_value())
    netloc = f"{url.username}:{url.password}@127.0.0.1:{proxy.port}"
    return SecretStr(url._replace(netloc=netloc).geturl())


def test_a_batch_that_somebody_waits_for_is_one_message_naming_its_rows(house: House) -> None:
    add_endpoint(house.engine, CLIENT)
    house.worker().ready()

    house.publish(house.transfers(1))
    house.await_decided(["k0"])

    [(headers, arguments)] = awaited_messages(house)
    assert headers["task"] == HAND_ON
    assert places([(headers, arguments)]) == pending(house)
    house.assert_all_acknowledged()


def test_nothing_is_handed_on_if_nobody_waits(house: House) -> None:
    worker = house.worker().ready()
    house.publish(house.transfers(16))
    house.await_decided(f"k{n}" for n in range(16))
    worker.terminate()

    assert messages(house) == []
    assert pending(house) == []


def test_killed_between_commit_and_hand_over_it_leaves_rows_that_are_pending(
    house: House, proxy_to_broker: Proxy
) -> None:
    add_endpoint(house.engine, CLIENT)
    worker = house.worker(broker_url=through(house, proxy_to_broker)).ready()
    house.publish(house.transfers(8, "before"))
    house.await_decided(f"before{n}" for n in range(8))
    before = set(pending(house))
    awaited_messages(house, lambda told: set(places(told)) == before)
    proxy_to_broker.hold()
    # It still hears the broker, and decides; nobody hears what it says from now on.
    standby, sent = house.worker(), house.transfers(24)
    house.publish(sent)
    house.await_decided(each.idempotency_key for each in sent)
    written = set(pending(house)) - before
    worker.kill()
    proxy_to_broker.close()

    standby.ready()
    house.publish(house.transfers(8, "later"))
    house.await_decided(f"later{n}" for n in range(8))

    assert written
    later = set(places(awaited_messages(house)))
    assert not later & written, "they were not handed on"
    assert written <= set(pending(house)), "but they are there for the sweep"
    told_of = house.rows("SELECT CAST(unnest(instruction_ids) AS text) FROM events")
    assert len(told_of) == len(set(told_of)), "a repeat tells nothing again"
    house.assert_decided_in_order(sent)


def test_without_a_broker_it_drops_and_returns_at_once(
    open_house: Callable[..., House], caplog: pytest.LogCaptureFixture
) -> None:
    house = open_house()
    app = callbacks_app(
        house.settings.model_copy(
            update={"broker_url": SecretStr("amqp://nobody:nothing@127.0.0.1:9/")}
        )
    )
    with closing(Handover(app)) as handover:
        start = time.monotonic()

        for number in range(WAITING_MOST * 3):
            handover.hand_on(Written(datetime.now(UTC), number, 1))

        assert time.monotonic() - start < 1
        wait_until(lambda: "events are not handed on" in caplog.text, what="the warning")
    assert "nothing" not in caplog.text, "no password is logged"


def test_after_the_broker_was_away_it_hands_on_again(house: House, proxy_to_broker: Proxy) -> None:
    settings = house.settings.model_copy(update={"broker_url": through(house, proxy_to_broker)})
    at = datetime.now(UTC)
    numbers = itertools.count(2)
    with closing(Handover(callbacks_app(settings))) as handover:
        handover.hand_on(Written(at, 1, 1))
        assert places(awaited_messages(house)) == [Written(at, 1, 1)]

        proxy_to_broker.cut()

        def heard() -> list[Written]:
            handover.hand_on(Written(at, next(numbers), 1))
            return places(messages(house))

        assert wait_until(heard, 30, 0.1, what="to be told again")


def test_many_transactions_are_told_in_few_messages(house: House) -> None:
    at = datetime.now(UTC)
    wanted = [Written(at, number, 1) for number in range(500)]

    with closing(Handover(callbacks_app(house.settings))) as handover:
        for written in wanted:
            handover.hand_on(written)

        told = awaited_messages(house, lambda found: len(places(found)) == 500)
    assert places(told) == wanted
    assert 5 <= len(told) <= 50
    assert all(len(refs) <= TOLD_AT_ONCE for _, (refs,) in told)

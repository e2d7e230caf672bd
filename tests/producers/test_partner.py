"""The partner kit against a broker of its own kind: what it sent arrives, whatever happens."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pika.adapters.utils import io_services_utils

from config.broker import inbox_queue, partner_user
from ops.partners import user_rights
from ops.stack.services import Services
from producers import partner as kit
from producers.partner import BODY_BYTES_MAX, Event, Partner, PartnerError
from tests.producers.acme import Acme
from tests.support import wait_until
from tests.workers.proxy import Proxy

DEPOSIT = {"wallet_id": "0a000000-0000-4000-8000-000000000002", "amount": 250, "currency": "KES"}


@pytest.fixture
def acme(services: Services) -> Iterator[Acme]:
    made = Acme(services)
    yield made
    made.remove()


def in_order(keys: list[str]) -> list[str]:
    """Each key where it came first."""
    return list(dict.fromkeys(keys))


def test_what_is_sent_arrives_once_confirmed_persistent_and_in_order(acme: Acme) -> None:
    keys = [f"key-{number}" for number in range(1_200)]

    with Partner(acme.url, unconfirmed_most=100) as partner:
        for key in keys:
            partner.send("deposit", DEPOSIT, key)
        partner.flush()
        assert partner.unconfirmed == []
        taken = acme.taken()

    properties, document = taken[0]
    assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)
    assert properties.message_id == "key-0"
    assert document == {
        "version": 1,
        "idempotency_key": "key-0",
        "type": "deposit",
        "data": DEPOSIT,
    }
    assert [each["idempotency_key"] for _, each in taken] == keys


def test_it_works_alone_in_an_empty_folder(acme: Acme, tmp_path: Path) -> None:
    shutil.copy(kit.__file__, tmp_path / "partner.py")
    program = """
import os, sys
from partner import Partner
with Partner(os.environ["BROKER_URL"]) as partner:
    partner.send("deposit", {"amount": 1}, "alone")
for module in ("producers", "config", "domain", "amqp", "celery"):
    assert module not in sys.modules, module
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=environment | {"BROKER_URL": acme.url},
        check=True,
        timeout=60,
    )

    assert acme.keys() == ["alone"]


def test_connections_that_break_in_mid_stream_lose_nothing_and_keep_the_order(acme: Acme) -> None:
    keys = [f"key-{number}" for number in range(1_500)]
    with Proxy("127.0.0.1", urlsplit(acme.url).port or 0) as proxy:
        with Partner(acme.url_by(proxy.port), unconfirmed_most=200) as partner:
            for number, key in enumerate(keys):
                partner.send("deposit", DEPOSIT, key)
                if number % 400 == 300:
                    proxy.cut()
        taken = acme.keys()

    assert in_order(taken) == keys


def test_a_broker_that_is_killed_loses_nothing_that_was_sent(services: Services) -> None:
    acme = Acme(services)
    keys = [f"key-{number}" for number in range(400)]
    # RabbitMQ 3.10 takes half a second to write down the name of a new quorum queue. Killed
    # before that, the queue comes back empty and without a leader.
    declared_s = time.monotonic()
    wait_until(lambda: time.monotonic() > declared_s + 1.5)
    try:
        with Partner(acme.url, patience_s=120) as partner:
            for key in keys[:200]:
                partner.send("deposit", DEPOSIT, key)
            services.rabbitmq.kill()
            for key in keys[200:]:
                partner.send("deposit", DEPOSIT, key)
            assert partner.unconfirmed
            services.rabbitmq.start()
        assert in_order(acme.keys()) == keys
    finally:
        services.rabbitmq.start()
        acme.remove()


def test_a_full_inbox_makes_it_wait_and_nothing_is_lost(services: Services) -> None:
    acme = Acme(services, inbox_messages=20)
    sent = 0
    taken: list[str] = []
    try:
        with Partner(acme.url) as partner:

            def full() -> bool:
                """A queue notices only after a while that it holds too much."""
                nonlocal sent
                for _ in range(20):
                    partner.send("deposit", DEPOSIT, f"key-{sent}")
                    sent += 1
                try:
                    partner.flush(timeout_s=0.5)
                except TimeoutError:
                    return True
                return False

            wait_until(full)

            def emptied() -> bool:
                taken.extend(acme.keys())
                return not partner.unconfirmed

            wait_until(emptied, 60, every_s=0.1)
        taken += acme.keys()
    finally:
        acme.remove()

    assert set(taken) == {f"key-{number}" for number in range(sent)}


def test_what_no_queue_takes_is_not_called_confirmed(services: Services, acme: Acme) -> None:
    acme.admin.delete("queues", inbox_queue(acme.name).name)
    with Partner(acme.url) as partner:
        partner.send("deposit", DEPOSIT, "early")
        with pytest.raises(TimeoutError):
            partner.flush(timeout_s=0.5)
        assert partner.unconfirmed == ["early"]
        acme.declare_inbox()

    assert acme.keys() == ["early"]


def test_it_holds_so_many_and_no_more_while_the_broker_is_away(acme: Acme) -> None:
    nowhere = acme.url_by(9)
    partner = Partner(nowhere, unconfirmed_most=5, patience_s=0.2)
    for number in range(5):
        partner.send("deposit", DEPOSIT, f"key-{number}")

    with pytest.raises(TimeoutError):
        partner.send("deposit", DEPOSIT, "one-too-many")
    with pytest.raises(TimeoutError):
        partner.close()

    assert partner.unconfirmed == [f"key-{number}" for number in range(5)]
    with pytest.raises(PartnerError, match="closed"):
        partner.send("deposit", DEPOSIT, "late")


@pytest.mark.parametrize("key", ["", "two words", "schlüssel", "k" * 256])
def test_a_key_that_would_be_refused_is_not_sent(acme: Acme, key: str) -> None:
    with Partner(acme.url) as partner, pytest.raises(ValueError, match="idempotency key"):
        partner.send("deposit", DEPOSIT, key)


def test_a_message_that_would_be_refused_for_its_size_is_not_sent(acme: Acme) -> None:
    with Partner(acme.url) as partner, pytest.raises(ValueError, match=str(BODY_BYTES_MAX)):
        partner.send("deposit", {"reference": "é" * (BODY_BYTES_MAX // 2)}, "large")

    assert acme.taken() == []


def test_a_wrong_password_is_told_to_whoever_asks(acme: Acme) -> None:
    partner = Partner(acme.url_by(urlsplit(acme.url).port or 0, "wrong"))

    with pytest.raises(PartnerError, match="refuses"):
        next(partner.events())
    with pytest.raises(PartnerError, match="refuses"):
        partner.send("deposit", DEPOSIT, "key")
    partner.close()


def test_a_right_that_is_taken_away_is_told_as_well(acme: Acme) -> None:
    rights = user_rights(acme.name) | {"read": "^$"}
    acme.admin.give_rights(partner_user(acme.name), rights)
    with pytest.raises(PartnerError, match="ACCESS_REFUSED"), Partner(acme.url) as partner:
        next(partner.events())


def test_an_event_is_taken_off_the_queue_when_the_next_is_asked_for(acme: Acme) -> None:
    acme.tell("one", "two", "three")
    with Partner(acme.url) as partner:
        seen = [event.id for event in partner.events(quiet_s=1.0)]

    assert seen == ["one", "two", "three"]
    assert acme.left() == 0


def test_an_event_whose_step_fails_comes_again(acme: Acme) -> None:
    acme.tell("one", "two")

    def handle(events: Iterator[Event]) -> None:
        for event in events:
            raise RuntimeError(event.id)

    with pytest.raises(RuntimeError, match="one"), Partner(acme.url) as partner:
        handle(partner.events())
    with Partner(acme.url) as partner:
        assert [event.id for event in partner.events(quiet_s=1.0)] == ["one", "two"]


def test_a_loop_that_is_left_gets_the_event_again_unless_it_was_done(acme: Acme) -> None:
    acme.tell("one", "two")
    with Partner(acme.url) as partner:
        for event in partner.events():
            assert event.id == "one"
            break
        for event in partner.events():
            assert event.id == "one"
            event.done()
            event.done()
            break
        for event in partner.events():
            assert event.id == "two"
            assert repr(event).startswith("Event(id='two'")
            assert "seq" not in repr(event)
            event.done()
            break

    assert acme.left() == 0


def test_events_go_on_after_the_connection_broke(acme: Acme) -> None:
    seen = []
    with Proxy("127.0.0.1", urlsplit(acme.url).port or 0) as proxy:
        acme.tell("one", "two")
        with Partner(acme.url_by(proxy.port)) as partner:
            for event in partner.events(quiet_s=5.0):
                seen.append(event.id)
                if len(seen) == 1:
                    proxy.cut()
                    # Until it is seen, the event would still be taken off the lost connection.
                    wait_until(lambda: partner._receiving is None)
                    acme.tell("three")
                if "three" in seen:
                    event.done()
                    break

    # The first was in hand when the connection broke: it came again, with the same id.
    assert in_order(seen) == ["one", "two", "three"]
    assert seen.count("one") == 2
    assert acme.left() == 0


def test_a_connection_that_is_reset_as_it_is_made_is_made_anew(
    acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the torture: pika raises then, where it calls back for every other loss."""
    make, failures = io_services_utils._AsyncStreamConnector.__init__, ["once", "twice"]

    def reset_at_first(*arguments: Any, **named: Any) -> None:
        if failures:
            raise ValueError(f"Expected connected socket: {failures.pop()}")
        make(*arguments, **named)

    monkeypatch.setattr(io_services_utils._AsyncStreamConnector, "__init__", reset_at_first)
    with Partner(acme.url) as partner:
        partner.send("deposit", DEPOSIT, "key")
        partner.flush()

    assert failures == []
    assert acme.keys() == ["key"]


def test_heartbeats_go_on_while_the_caller_thinks(acme: Acme) -> None:
    with Partner(acme.url + "?heartbeat=1") as partner:
        partner.send("deposit", DEPOSIT, "before")
        partner.flush()
        connection = partner._connection
        time.sleep(4)  # The broker gives up a silent connection after two heartbeats.
        partner.send("deposit", DEPOSIT, "after")
        partner.flush()

        assert partner._connection is connection

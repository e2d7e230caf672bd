"""Whatever a partner may publish: refused with an event, and it harms nobody."""

import gzip
import hashlib
import json
import pickle
from collections.abc import Iterator
from typing import Any

import amqp
import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from config.broker import inbox_exchange, partner_user
from domain.problems import BODY_BYTES_MAX
from ops.stack.services import Services
from producers.connection import connection
from tests.bookkeeping import wallet_id
from tests.partners.client import channel_of
from tests.partners.house import RECEIPTS, PartnerHouse, Seen
from tests.workers.house import Worker

DATA = {"wallet_id": wallet_id("w"), "amount": 1, "currency": "KES"}
GOOD = {"version": 1, "idempotency_key": "k", "type": "deposit", "data": DATA}

CHAIN = {
    "callbacks": None,
    "errbacks": None,
    "chain": [{"task": "celery.backend_cleanup", "args": [], "kwargs": {}, "options": {}}],
    "chord": None,
}
CELERY = json.dumps([[], {}, CHAIN]).encode()


class Place:
    """A house with two partners, and the inbox worker under attack."""

    def __init__(self, house: PartnerHouse) -> None:
        self.house = house
        self.bank = house.partner(scopes=["deposits:write"])
        self.other = house.partner()
        self.worker: Worker = house.inbox().ready()

    def refusal(self) -> Seen:
        """The one receipt that has come since, which is a refusal."""
        known = len(self.bank.of(*RECEIPTS))
        *_, receipt = self.bank.await_events(known + 1, *RECEIPTS)
        assert receipt.type == "instruction.refused", receipt.event
        return receipt

    def assert_unharmed(self) -> None:
        """The process is the one that was started, and serves the others."""
        assert self.worker.process.poll() is None
        known = len(self.other.of(*RECEIPTS))
        self.other.send(self.other.deposit("w"))
        assert self.other.await_events(known + 1, *RECEIPTS)[-1].type == "instruction.accepted"
        assert not self.worker.logged("defect; this process ends")
        assert not self.worker.logged("refused by a defect")


@pytest.fixture(scope="module")
def place(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    house = PartnerHouse(services, tmp_path_factory.mktemp("malformed"))
    yield Place(house)
    house.close()


def _body(**changes: Any) -> bytes:
    message = {**GOOD, **changes}
    return json.dumps({k: v for k, v in message.items() if v is not ...}).encode()


def _data(**changes: Any) -> bytes:
    return _body(data={**DATA, **changes})


BODIES: dict[str, tuple[bytes, str, str]] = {
    "nothing": (b"", "malformed_json", ""),
    "half a text": (b'{"version": 1', "malformed_json", ""),
    "not UTF-8": (b'{"a": "\xff"}', "malformed_json", ""),
    "UTF-16": (json.dumps(GOOD).encode("utf-16"), "malformed_json", ""),
    "a key twice": (b'{"version": 1, "version": 1}', "malformed_json", ""),
    "not a number": (_body().replace(b'"amount": 1', b'"amount": NaN'), "malformed_json", ""),
    "nested deeply": (b"[" * 30_000, "malformed_json", ""),
    "a long number": (b"1" * 5_000, "malformed_json", ""),
    "null": (b"null", "invalid_body", ""),
    "a number": (b"5", "invalid_body", ""),
    "a list": (json.dumps([GOOD]).encode(), "invalid_body", ""),
    "no version": (_body(version=...), "invalid_body", "/version"),
    "version 2": (_body(version=2), "invalid_body", "/version"),
    "version as text": (_body(version="1"), "invalid_body", "/version"),
    "version true": (_body(version=True), "invalid_body", "/version"),
    "no key": (_body(idempotency_key=...), "idempotency_key_missing", ""),
    "key null": (_body(idempotency_key=None), "idempotency_key_missing", ""),
    "key empty": (_body(idempotency_key=""), "idempotency_key_invalid", ""),
    "key with a space": (_body(idempotency_key="a b"), "idempotency_key_invalid", ""),
    "key too long": (_body(idempotency_key="k" * 256), "idempotency_key_invalid", ""),
    "key a number": (_body(idempotency_key=7), "idempotency_key_invalid", ""),
    "no type": (_body(type=...), "invalid_body", "/type"),
    "type unknown": (_body(type="celery.backend_cleanup"), "invalid_body", "/type"),
    "type a table": (_body(type={"a": 1}), "invalid_body", "/type"),
    "type without its scope": (_body(type="withdrawal"), "forbidden", ""),
    "no data": (_body(data=...), "invalid_body", "/data"),
    "data a list": (_body(data=[]), "invalid_body", "/data"),
    "a client of its choice": (_body(client_id=1), "invalid_body", "/client_id"),
    "an unknown field": (_data(fee=1), "invalid_body", "/data/fee"),
    "amount 0": (_data(amount=0), "invalid_body", "/data/amount"),
    "amount with a fraction": (_data(amount=1.5), "invalid_body", "/data/amount"),
    "amount as text": (_data(amount="1"), "invalid_body", "/data/amount"),
    "no such currency": (_data(currency="XYZ"), "invalid_body", "/data/currency"),
    "a NUL": (_data(reference="a\0b"), "invalid_body", "/data/reference"),
    "a lone surrogate": (_data(reference="\ud800"), "invalid_body", "/data/reference"),
    "too many metadata": (
        _data(metadata={str(n): "" for n in range(17)}),
        "invalid_body",
        "/data/metadata",
    ),
    "a Celery task with a chain": (CELERY, "invalid_body", ""),
    "64 KiB and one byte": (
        _body() + b" " * (BODY_BYTES_MAX + 1 - len(_body())),
        "body_too_large",
        "",
    ),
    "what the broker just takes": (b"[" * 128 * 1024, "body_too_large", ""),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_instruction_is_refused_with_the_reason(place: Place, name: str) -> None:
    body, code, pointer = BODIES[name]

    place.bank.send_raw(body, message_id=name, correlation_id="c-1")

    refusal = place.refusal()
    assert refusal.properties.message_id == refusal.event["id"]
    assert refusal.data["message_id"] == name
    assert refusal.data["correlation_id"] == "c-1"
    assert refusal.data["body_sha256"] == hashlib.sha256(body).hexdigest()
    problem = refusal.data["problem"]
    assert problem["code"] == code
    assert problem["type"] == f"urn:tekana:problem:{code}"
    assert problem["title"]
    assert problem["request_id"] == refusal.event["id"]
    assert [each["pointer"] for each in problem.get("errors", [])][:1] == (
        [pointer] if code == "invalid_body" else []
    )
    has_key = b'"idempotency_key": "k"' in body and code not in ("malformed_json", "body_too_large")
    assert refusal.data.get("idempotency_key") == ("k" if has_key and body[:1] == b"{" else None)
    place.assert_unharmed()


PROPERTIES: dict[str, tuple[dict[str, Any], str]] = {
    "no content type": ({"content_type": None}, "unsupported_media_type"),
    "text": ({"content_type": "text/plain"}, "unsupported_media_type"),
    "YAML": ({"content_type": "application/x-yaml"}, "unsupported_media_type"),
    "said to be gzip": ({"content_encoding": "gzip"}, "unsupported_media_type"),
    "said to be binary": ({"content_encoding": "binary"}, "unsupported_media_type"),
    "priority": ({"priority": 9}, "priority"),
    "expiration": ({"expiration": "600000"}, "expiration"),
    "CC": ({"headers": {"CC": ["out.other", "1"]}}, "headers.CC"),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties_that_promise_what_we_do_not_do_are_refused(place: Place, name: str) -> None:
    properties, what = PROPERTIES[name]

    place.bank.send_raw(_body(), **properties)

    problem = place.refusal().data["problem"]
    if problem["code"] == "invalid_body":
        assert [each["property"] for each in problem["errors"]] == [what]
    else:
        assert problem["code"] == what
    place.assert_unharmed()


CELERY_HEADERS: dict[str, dict[str, Any]] = {
    "v2": {"task": "celery.backend_cleanup", "id": "1"},
    "task is a table": {"task": {"a": 1}, "id": "1"},
    "id is a table": {"task": "celery.chain", "id": {"x": [1, {"y": 2}]}},
    "no id": {"task": "celery.chain"},
    "expires is a list": {"task": "celery.chain", "id": "3", "expires": [1]},
    "compressed": {"task": "celery.chain", "id": "4", "compression": "application/x-gzip"},
}


@pytest.mark.parametrize("name", CELERY_HEADERS)
def test_a_celery_task_is_no_instruction_whatever_its_headers(place: Place, name: str) -> None:
    place.bank.send_raw(CELERY, headers=CELERY_HEADERS[name], content_encoding="utf-8")

    assert place.refusal().data["problem"]["code"] == "invalid_body"
    place.assert_unharmed()


def test_headers_that_take_long_to_read_are_not_read(place: Place) -> None:
    """A table of 100,000 values takes a tenth of a second and megabytes, for each message."""
    known = len(place.bank.of(*RECEIPTS))
    for _ in range(50):
        place.bank.send_raw(_body(), headers={"many": [None] * 100_000})
    place.assert_unharmed()

    refusals = place.bank.await_events(known + 50, *RECEIPTS)[known:]
    assert {each.data["problem"]["errors"][0]["property"] for each in refusals} == {"headers"}


def test_pickles_and_gzip_bombs_are_never_opened(place: Place) -> None:
    bomb = gzip.compress(b"\0" * 32 * 1024 * 1024)
    assert len(bomb) < BODY_BYTES_MAX
    pickled = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}

    place.bank.send_raw(pickle.dumps(GOOD), **pickled)
    assert place.refusal().data["problem"]["code"] == "unsupported_media_type"
    for encoding in ("gzip", "utf-8"):
        headers = {"compression": "application/x-gzip"}
        place.bank.send_raw(bomb, headers=headers, content_encoding=encoding)
        code = "unsupported_media_type" if encoding == "gzip" else "malformed_json"
        assert place.refusal().data["problem"]["code"] == code
    place.assert_unharmed()


def test_bytes_that_are_no_text_in_names_and_properties_end_no_worker(place: Place) -> None:
    """A client such as pika would refuse to send these; another client need not."""
    opening = connection(place.bank.url, "rude")
    opening.connect()
    try:
        channel = opening.channel()
        channel.confirm_select()
        exchange = inbox_exchange(place.bank.name)
        for key, properties in (
            (b"\xff\xfe", {"content_type": "application/json"}),
            ("k", {"content_type": "application/json", "message_id": b"\xff"}),
            ("k", {"content_type": b"\xff"}),
        ):
            channel.basic_publish(amqp.Message(CELERY, **properties), exchange, key)
            place.refusal()
    finally:
        opening.collect()
    place.bank.send_raw(CELERY, message_id="a\0b")
    assert place.refusal().data["message_id"] == r"a\x00b"
    place.assert_unharmed()


def test_nobody_can_name_somebody_else(place: Place) -> None:
    somebody = pika.BasicProperties(
        content_type="application/json", user_id=partner_user(place.other.name)
    )
    exchange = inbox_exchange(place.bank.name)

    with channel_of(place.bank.url) as channel, pytest.raises(ChannelClosedByBroker):
        channel.basic_publish(exchange, "", _body(), somebody)
    # Whom the broker lets impersonate others is refused by us.
    with place.house.impersonator() as url, channel_of(url) as channel:
        channel.basic_publish(exchange, "", _body(), somebody)

    problem = place.refusal().data["problem"]
    assert [each["property"] for each in problem["errors"]] == ["user_id"]
    place.assert_unharmed()


HARMLESS: dict[str, dict[str, Any]] = {
    "a charset": {"content_type": "Application/JSON; charset=utf-8"},
    "what kombu says": {"content_encoding": "utf-8", "priority": 0},
    "headers that are tables": {"headers": {"a": {"b": [1, {"c": None}]}, "task": "celery.chain"}},
    "BCC, which the broker takes off": {"headers": {"BCC": ["1"]}},
    "where to reply": {"reply_to": "out.other", "type": "t", "app_id": "a", "cluster_id": "c"},
    "a time in the year 300,000": {"timestamp": 10**13},
    "not persistent": {"delivery_mode": 1},
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_no_harm_is_ignored_and_never_travels_on(place: Place, name: str) -> None:
    key = place.bank.named(name.replace(" ", "-"))

    place.bank.send_raw(_body(idempotency_key=key), **HARMLESS[name])

    receipt = place.bank.await_events(len(place.bank.of(*RECEIPTS)) + 1, *RECEIPTS)[-1]
    assert receipt.type == "instruction.accepted"
    properties, instruction = place.house.forwarded("w", key)
    assert instruction.client_id == place.bank.client_id
    assert {name: value for name, value in vars(properties).items() if value is not None} == {
        "content_type": "application/json",
        "delivery_mode": 2,
        "message_id": place.bank.instruction_id(key),
        "app_id": "tekana",
    }


def test_a_message_of_exactly_64_kib_is_taken_in(place: Place) -> None:
    body = _body(idempotency_key=place.bank.named("full"))

    place.bank.send_raw(body + b" " * (BODY_BYTES_MAX - len(body)))

    receipt = place.bank.await_events(len(place.bank.of(*RECEIPTS)) + 1, *RECEIPTS)[-1]
    assert receipt.type == "instruction.accepted"

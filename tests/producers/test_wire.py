"""What we write is what other AMQP libraries read, and frames are cut apart as they came."""

from dataclasses import replace
from typing import Any

import pika.frame
import pika.spec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers import wire
from producers.messages import Outgoing


def read_by_pika(data: bytes) -> list[Any]:
    found = []
    while data:
        size, frame = pika.frame.decode_frame(data)
        assert frame is not None
        assert frame.channel_number == wire.CHANNEL
        found.append(frame)
        data = data[size:]
    return found


A_MESSAGE = Outgoing("ex", "7", b"{}", "id-1")


def test_a_message_is_persistent_mandatory_json_and_asks_for_no_priority_and_no_expiration() -> (
    None
):
    publish, header, body = read_by_pika(wire.encode(replace(A_MESSAGE, body=b'{"a":1}')))

    assert isinstance(publish.method, pika.spec.Basic.Publish)
    assert (publish.method.exchange, publish.method.routing_key) == ("ex", "7")
    assert publish.method.mandatory
    assert not publish.method.immediate
    assert header.body_size == 7
    assert {
        name: value for name, value in vars(header.properties).items() if value is not None
    } == {
        "content_type": "application/json",
        "delivery_mode": 2,
        "message_id": "id-1",
        "app_id": "tekana",
    }
    assert body.fragment == b'{"a":1}'


def test_headers_travel_along() -> None:
    given_headers = {"attempt": 3, "why": "übung", "nested": {"yes": True}}

    _, header, _ = read_by_pika(wire.encode(replace(A_MESSAGE, headers=given_headers)))

    assert header.properties.headers == given_headers
    assert header.properties.message_id == "id-1"


def test_a_type_travels_along_with_headers_and_without() -> None:
    _, header, _ = read_by_pika(wire.encode(replace(A_MESSAGE, type="entry.posted")))
    _, both, _ = read_by_pika(wire.encode(replace(A_MESSAGE, type="t", headers={"a": 1})))

    assert (header.properties.type, header.properties.app_id) == ("entry.posted", "tekana")
    assert header.properties.headers is None
    assert (both.properties.type, both.properties.headers) == ("t", {"a": 1})


@pytest.mark.parametrize("size", [0, 1, 4087, 4088, 4089, 8176, 8177, 100_000])
def test_a_body_of_any_size_arrives_whole_in_frames_that_every_broker_takes(size: int) -> None:
    body = bytes(place % 251 for place in range(size))

    data = wire.encode(replace(A_MESSAGE, body=body))
    _, header, *parts = read_by_pika(data)

    assert header.body_size == size
    assert b"".join(part.fragment for part in parts) == body
    assert all(len(payload) + 8 <= 4096 for _, _, payload in wire.frames(data))


@pytest.mark.parametrize("field", ["exchange", "routing_key", "message_id"])
def test_a_name_that_amqp_cannot_carry_is_refused(field: str) -> None:
    def named(length: int) -> Outgoing:
        changes: dict[str, Any] = {field: "x" * length}
        return replace(A_MESSAGE, **changes)

    wire.encode(named(255))

    with pytest.raises(ValueError, match="255"):
        wire.encode(named(256))


@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(0, 2000))
def test_only_whole_frames_are_cut_off_wherever_the_data_end(
    payloads: list[bytes], cut: int
) -> None:
    whole = b"".join(wire._framed(wire.METHOD, payload) for payload in payloads)
    data = whole[: min(cut, len(whole))]

    found = [payload for _, _, payload in wire.frames(data)]

    used = sum(len(payload) + 8 for payload in found)
    assert found == payloads[: len(found)]
    assert used <= len(data)
    if len(found) < len(payloads):
        assert len(data) < used + len(payloads[len(found)]) + 8


def test_a_frame_without_its_end_mark_is_not_amqp() -> None:
    with pytest.raises(ValueError, match="AMQP"):
        list(wire.frames(wire._framed(wire.METHOD, b"abc")[:-1] + b"\x00"))

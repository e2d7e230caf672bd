"""Deliveries put together from whatever pieces of the stream the socket gives."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from struct import pack
from types import SimpleNamespace
from typing import Any

import pytest
from amqp import UnexpectedFrame
from amqp.transport import TCPTransport
from hypothesis import given
from hypothesis import strategies as st

from config.broker import PROPERTIES_BYTES_MOST, PROPERTIES_TOO_LONG
from workers.inflow import Inflow, properties

OURS, THEIRS = 3, 1
_DELIVER = b"\x00\x3c\x00\x3c"
_QOS_OK = b"\x00\x3c\x00\x0b"
_FRAME_MOST = 100


class Line:
    """A py-amqp connection as far as `Inflow` sees it, with a socket that we write into."""

    def __init__(self) -> None:
        here, self.broker = socket.socketpair()
        transport = TCPTransport("nowhere:1")
        transport.sock, transport.connected = here, True
        transport._setup_transport()
        self.others: list[tuple[int, int, bytes]] = []
        self.connection: Any = SimpleNamespace(
            transport=transport, bytes_recv=0, on_inbound_frame=self._on_other
        )
        self.taken: list[tuple[int, bytes, bytes]] = []
        self.inflow = Inflow(self.connection)
        self.inflow.deliver(SimpleNamespace(channel_id=OURS), self._take)

    def _take(self, tag: int, body: bytes, header: bytes) -> None:
        self.taken.append((tag, body, header))

    def _on_other(self, frame: tuple[int, int, Any]) -> bool:
        kind, channel, payload = frame
        self.others.append((kind, channel, bytes(payload)))
        return True

    def read_all(self) -> None:
        while self.inflow.read():
            pass

    def let_the_library_read_a_frame(self) -> None:
        """As py-amqp does while it waits for an answer; the frame has to be there."""
        transport = self.connection.transport
        transport.sock.settimeout(5)
        self.connection.on_inbound_frame(transport.read_frame())


@contextmanager
def line() -> Iterator[Line]:
    made = Line()
    try:
        yield made
    finally:
        made.broker.close()
        made.connection.transport.sock.close()


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def header(size: int) -> bytes:
    return pack(">HHQH", 60, 0, size, 0)


def delivery(tag: int, body: bytes) -> list[bytes]:
    """The frames of one delivery, its exchange and routing key no text at all."""
    method = _DELIVER + b"\x03tag" + pack(">QB", tag, 0) + b"\x02\xff\xfe" + b"\x01\xff"
    parts = [body[at : at + _FRAME_MOST] for at in range(0, len(body), _FRAME_MOST)]
    return [
        frame(1, OURS, method),
        frame(2, OURS, header(len(body))),
        *(frame(3, OURS, part) for part in parts),
    ]


OTHERS = (frame(1, THEIRS, _QOS_OK), frame(8, 0, b""), frame(1, OURS, _QOS_OK))


@given(
    bodies=st.lists(st.binary(max_size=3 * _FRAME_MOST), max_size=6),
    between=st.lists(st.sampled_from(OTHERS), max_size=6),
    data=st.data(),
)
def test_however_the_stream_is_cut_and_whoever_reads_everything_arrives_once_and_in_order(
    bodies: list[bytes], between: list[bytes], data: st.DataObject
) -> None:
    frames = [each for tag, body in enumerate(bodies, 1) for each in delivery(tag, body)]
    for other in between:
        # Frames of other channels may come within a message; a method of its own may not.
        places = [
            at for at in range(len(frames) + 1) if other != OTHERS[2] or _is_between(frames, at)
        ]
        frames.insert(data.draw(st.sampled_from(places)), other)
    stream, ends, at = b"".join(frames), set(), 0
    for each in frames:
        at += len(each)
        ends.add(at)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)) | {len(stream)})

    with line() as made:
        sent = 0
        for cut in cuts:
            made.broker.sendall(stream[sent:cut])
            unread = len(made.connection.transport._read_buffer) + cut - sent
            first = min((end for end in ends if end > cut - unread), default=cut + 1)
            if first <= cut and data.draw(st.booleans(), "the library reads the first frame"):
                made.let_the_library_read_a_frame()
            made.read_all()
            sent = cut

        assert made.taken == [(tag, body, header(len(body))) for tag, body in enumerate(bodies, 1)]
        assert len(made.others) == len(between)


def _is_between(frames: list[bytes], at: int) -> bool:
    """Whether no message of ours has begun and not ended before this place."""
    open_bytes = 0
    for each in frames[:at]:
        if each[2] != OURS or each in OTHERS:
            continue
        if each[0] == 1:
            open_bytes = 1
        elif each[0] == 2:
            open_bytes = int.from_bytes(each[11:19])
        else:
            open_bytes -= len(each) - 8
    return open_bytes == 0


def test_a_frame_for_the_library_leaves_the_rest_where_the_library_finds_it() -> None:
    """It may wait for an answer at once, which lies behind in the same piece."""
    with line() as made:
        original = made.connection.on_inbound_frame
        made.broker.sendall(OTHERS[0] + OTHERS[1] + b"".join(delivery(7, b"{}")))

        def waits(given_frame: tuple[int, int, Any]) -> bool:
            made._on_other(given_frame)
            if len(made.others) == 1:
                made.let_the_library_read_a_frame()
            return True

        made.inflow._others = waits
        made.read_all()

        assert [kind for kind, _, _ in made.others] == [1, 8]
        assert [body for _, body, _ in made.taken] == [b"{}"]
        assert made.connection.on_inbound_frame is original


def test_what_is_delivered_to_a_closed_channel_is_not_taken() -> None:
    with line() as made:
        channel = SimpleNamespace(channel_id=OURS)
        channel.close = lambda: setattr(channel, "channel_id", None)
        made.inflow.close(channel)
        made.broker.sendall(delivery(1, b"{}")[0])
        made.read_all()

        assert not made.taken
        assert len(made.others) == 1


def test_a_broker_that_is_gone_is_an_error_that_celery_reconnects_for() -> None:
    with line() as made:
        made.broker.close()
        with pytest.raises(OSError, match="closed the connection"):
            made.inflow.read()


def test_what_is_not_amqp_is_an_error_that_celery_reconnects_for() -> None:
    with line() as made:
        made.broker.sendall(b"\x01\x00\x01\x00\x00\x00\x01ab")
        with pytest.raises(UnexpectedFrame):
            made.inflow.read()


def test_nothing_to_read_is_told_at_once() -> None:
    with line() as made:
        assert made.inflow.read() is False


def test_properties_that_cannot_be_read_are_left_out_and_long_ones_are_named() -> None:
    short = pack(">HHQH", 60, 0, 0, 0x8000)
    assert properties(short + b"\x04text") == {"content_type": "text"}
    assert properties(short + b"\x02\xff\xfe") == {}
    long = properties(short + b"\x04text" + b"\0" * PROPERTIES_BYTES_MOST)
    assert long == {PROPERTIES_TOO_LONG: True}

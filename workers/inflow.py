"""What the broker delivers, put together without a detour through all of AMQP.

py-amqp asks its socket for nine pieces of a message and passes each of its three frames through
six functions, which took a third of a worker's time (`docs/decisions/0024-the-inflow.md`). Here
the frames of a delivery are cut out of what the socket gave at once. Everything that is no
delivery to a channel of ours stays py-amqp's, and so does waiting for an answer: it may read
from the same connection at any time, in the middle of a message too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import unpack_from
from typing import Any, Final

from amqp import UnexpectedFrame
from amqp.serialization import decode_properties_basic

from config.broker import PROPERTIES_BYTES_MOST, PROPERTIES_TOO_LONG
from producers.wire import BODY, HEADER, METHOD, frames

READ_BYTES: Final = 65_536
"""Asked for at once: some two hundred messages."""

Take = Callable[[int, bytes, bytes], None]
"""Takes one delivery: its tag, its body, and its content header, which `properties` reads.

It must not raise for what a message says, nor wait for the broker."""

_DELIVER: Final = b"\x00\x3c\x00\x3c"

_PROPERTIES_AT: Final = 12
"""Where they begin in a content header: behind class, weight and size of the body."""


@dataclass(slots=True)
class _Partial:
    """A delivery of which more is to come."""

    tag: int
    header: bytes = b""
    missing: int = 0
    parts: list[bytes] = field(default_factory=list)


class Inflow:
    """The incoming half of a py-amqp connection, for as long as that connection lasts."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._others = connection.on_inbound_frame
        self._takers: dict[int, Take] = {}
        self._partial: dict[int, _Partial] = {}
        connection.on_inbound_frame = self._on_frame

    def deliver(self, channel: Any, take: Take) -> None:
        """Have everything that is delivered on a channel taken, in order. Before it consumes."""
        self._takers[channel.channel_id] = take

    def close(self, channel: Any) -> None:
        """Close a channel; until that is answered, what is delivered is still taken.

        Raises: amqp.AMQPError or OSError if the connection is lost.
        """
        channel_id = channel.channel_id
        try:
            channel.close()
        finally:
            self._takers.pop(channel_id, None)
            self._partial.pop(channel_id, None)

    def read(self) -> bool:
        """Take what has come, as much as one call of the socket gives; False if it was nothing.

        Raises: OSError or amqp.AMQPError if the connection is lost or makes no sense.
        """
        transport = self._connection.transport
        try:
            with transport.having_timeout(0):
                came = transport._quick_recv(READ_BYTES)
        except TimeoutError:
            return False
        except OSError:
            transport.connected = False
            raise
        if not came:
            transport.connected = False
            raise OSError("the broker closed the connection")
        self._connection.bytes_recv += 1  # For the heartbeats: it was heard.
        transport._read_buffer += came
        while (frame := self._next_of_others(transport)) is not None:
            # It may wait for an answer, and so read what is behind this frame.
            self._others(frame)
        return True

    def _next_of_others(self, transport: Any) -> tuple[int, int, bytes] | None:
        """Take deliveries up to the first whole frame that is something else, or to the end."""
        data, used = transport._read_buffer, 0
        try:
            for kind, channel, payload in frames(data):
                used += len(payload) + 8
                if not self._took(kind, channel, payload):
                    return kind, channel, payload
        except ValueError as error:
            raise UnexpectedFrame(str(error)) from None
        finally:
            transport._read_buffer = data[used:]
        return None

    def _on_frame(self, frame: tuple[int, int, Any]) -> Any:
        """Where py-amqp passes on a frame that it has read itself."""
        return self._took(*frame) or self._others(frame)

    def _took(self, kind: int, channel: int, payload: Any) -> bool:
        """Deal with a frame if it belongs to a delivery of ours."""
        take = self._takers.get(channel)
        if take is None:
            return False
        if kind == METHOD:
            if payload[:4] != _DELIVER:
                return False
            # Behind the consumer's tag. Exchange and routing key are a sender's words, and
            # py-amqp raises for a key that is not UTF-8.
            (tag,) = unpack_from(">Q", payload, 5 + payload[4])
            self._partial[channel] = _Partial(tag)
            return True
        partial = self._partial.get(channel)
        if partial is None:
            return False
        if kind == HEADER:
            partial.header = bytes(payload)
            (partial.missing,) = unpack_from(">Q", payload, 4)
        elif kind == BODY:
            partial.parts.append(bytes(payload))
            partial.missing -= len(payload)
        if partial.missing <= 0:
            del self._partial[channel]
            take(partial.tag, b"".join(partial.parts), partial.header)
        return True


def properties(header: bytes) -> dict[str, Any]:
    """What a content header says of its message, as far as it can be read; see `readable`."""
    return readable(header, _PROPERTIES_AT)[0]


def readable(buffer: Any, offset: int) -> tuple[dict[str, Any], int]:
    """The properties from an offset on, and where their reading ended. Never raises.

    py-amqp raises for some that RabbitMQ lets pass (text that is not UTF-8, a timestamp in the
    year 300,000, tables within tables): they are left out, because the body alone decides. So
    is what is longer than PROPERTIES_BYTES_MOST, and said to be: a table of 128 KiB takes a
    tenth of a second and megabytes.
    """
    if len(buffer) - offset > PROPERTIES_BYTES_MOST:
        return {PROPERTIES_TOO_LONG: True}, offset
    try:
        found: tuple[dict[str, Any], int] = decode_properties_basic(buffer, offset)
    except Exception:  # noqa: BLE001  Whatever is wrong with them, the body decides.
        return {}, offset
    return found

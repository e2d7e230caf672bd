"""AMQP 0-9-1 frames in a stream of bytes, as far as a proxy has to understand them."""

from struct import pack, unpack
from typing import Final, NamedTuple

_METHOD: Final = 1
_HEAD_BYTES: Final = 7
_METHOD_ID_BYTES: Final = 4
_PROTOCOL_HEADER_BYTES: Final = 8

BASIC_CONSUME: Final = pack(">HH", 60, 20)
BASIC_DELIVER: Final = pack(">HH", 60, 60)
BASIC_ACK: Final = pack(">HH", 60, 80)
CONFIRM_SELECT: Final = pack(">HH", 85, 10)

_NO_SUCH_TAG: Final = 2**62


class Method(NamedTuple):
    """A method frame: its channel, and class and method as four bytes."""

    channel: int
    id: bytes


class Frames:
    """Follows one direction of a connection, whatever the pieces that it comes in."""

    def __init__(self, *, from_client: bool) -> None:
        # A client begins with eight bytes that are no frame.
        self._skip = _PROTOCOL_HEADER_BYTES if from_client else 0
        self._head = b""

    @property
    def between(self) -> bool:
        """Whether the last byte seen ended a frame, so that another may be put in here."""
        return not self._skip and not self._head

    def feed(self, data: bytes) -> list[Method]:
        """The methods whose beginning is in this piece."""
        found: list[Method] = []
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            is_method = self._head[:1] == bytes([_METHOD])
            wanted = _HEAD_BYTES + _METHOD_ID_BYTES if is_method else _HEAD_BYTES
            step = min(wanted - len(self._head), len(data) - at)
            self._head += data[at : at + step]
            at += step
            if len(self._head) == _HEAD_BYTES and self._head[0] != _METHOD:
                self._skip = unpack(">I", self._head[3:7])[0] + 1
                self._head = b""
            elif len(self._head) == _HEAD_BYTES + _METHOD_ID_BYTES:
                channel, size = unpack(">HI", self._head[1:7])
                found.append(Method(channel, self._head[7:]))
                self._skip = size - _METHOD_ID_BYTES + 1
                self._head = b""
        return found


def unknown_ack(channel: int) -> bytes:
    """An acknowledgement of what was never delivered: the broker closes the channel for it."""
    payload = BASIC_ACK + pack(">QB", _NO_SUCH_TAG, 0)
    return pack(">BHI", _METHOD, channel, len(payload)) + payload + b"\xce"

"""One connection to the broker, from its handshake to its loss."""

import select
import socket
import ssl
from struct import unpack_from
from typing import Any, Final

import amqp
from amqp.method_framing import frame_writer

from producers import wire
from producers.confirms import Confirms, Handover
from producers.connection import STEP_TIMEOUT_S, Declare, connection, open_channel
from producers.messages import Reason

_LATER: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_READ_BYTES: Final = 65_536


class LinkLost(Exception):
    """The connection or its channel is of no more use."""


class Link:
    """A connection with one channel in confirm mode; never opened a second time.

    py-amqp shakes hands, declares, answers heartbeats and closes. Once that is done the socket
    is non-blocking and this class moves the bytes: everything to be sent gathers in one buffer,
    and confirms are read without a detour. Belongs to one thread, but for `blocked`, which
    others may read.
    """

    def __init__(self, broker_url: str, name: str, declare: Declare, waker: socket.socket) -> None:
        """Connect. What comes in on `waker` ends a `wait`.

        Raises: OSError, amqp.AMQPError, or what `declare` raises.
        """
        self.confirms = Confirms()
        self.blocked = False
        self._serving = False
        self._incoming = b""
        self._outgoing = bytearray()
        self._connection = connection(
            broker_url,
            name,
            frame_writer=lambda opening, _transport: frame_writer(opening, self),
            on_blocked=self._on_blocked,
            on_unblocked=self._on_unblocked,
        )
        try:
            channel = open_channel(self._connection, wire.CHANNEL)
            declare(channel)
            channel.confirm_select()
        except BaseException:
            self._connection.collect()
            raise
        channel.events["basic_return"].add(self._on_return)
        self._socket: socket.socket = self._connection.sock
        self._socket.setblocking(False)
        self._serving = True
        self._waker = waker
        self._poll = select.poll()
        self._poll.register(waker, select.POLLIN)
        self._poll.register(self._socket, select.POLLIN)
        self._wants_to_write = False
        # When something was last heard of the messages on their way; see `check`.
        self._settled_before = 0
        self._silent_since_s: float | None = None

    def write(self, data: memoryview) -> None:
        """Where py-amqp writes its own frames."""
        if self._serving:
            self._outgoing += data
        else:
            self._connection.transport.write(data)

    def send(self, handover: Handover) -> None:
        """Put the messages of a handover behind all that is to be sent."""
        self.confirms.sent(handover)
        self._outgoing += b"".join(handover.frames)

    def flush(self) -> None:
        """Write as much as the socket takes. Raises: OSError."""
        while self._outgoing:
            try:
                written = self._socket.send(self._outgoing)
            except _LATER:
                return
            del self._outgoing[:written]
            self._connection.bytes_sent += 1  # For the heartbeats: we were heard.

    def wait(self, timeout_s: float) -> None:
        """Wait until we are woken, the broker says something, or there is room to write.

        Raises: as `receive`.
        """
        if self._wants_to_write != bool(self._outgoing):
            self._wants_to_write = bool(self._outgoing)
            wanted = select.POLLIN | select.POLLOUT if self._outgoing else select.POLLIN
            self._poll.modify(self._socket, wanted)
        for descriptor, _ in self._poll.poll(timeout_s * 1000):
            if descriptor == self._waker.fileno():
                self._waker.recv(_READ_BYTES)
            else:
                self.receive()

    def receive(self) -> None:
        """Deal with what has come.

        Raises: LinkLost if the broker closed the channel; OSError, amqp.AMQPError, ValueError
        or UnknownTag if the connection is closed or makes no sense.
        """
        while True:
            try:
                data = self._socket.recv(_READ_BYTES)
            except _LATER:
                return
            if not data:
                raise LinkLost("the broker closed the connection")
            self._connection.bytes_recv += 1
            data = self._incoming + data
            used = 0
            for kind, channel, payload in wire.frames(data):
                used += len(payload) + 8
                self._on_frame(kind, channel, payload)
            self._incoming = data[used:]
            if not isinstance(self._socket, ssl.SSLSocket) or not self._socket.pending():
                return

    def check(self, now_s: float, patience_s: float) -> None:
        """Send a heartbeat if one is due, and judge the broker's silence.

        Raises: LinkLost if nothing was heard of the messages on their way for `patience_s`;
        amqp.AMQPError if heartbeats stay away.
        """
        self._connection.heartbeat_tick()
        moved = self.confirms.settled != self._settled_before
        # While it is short of memory, the broker is silent and means no harm.
        if moved or self.blocked or not self.confirms:
            self._settled_before, self._silent_since_s = self.confirms.settled, None
        elif self._silent_since_s is None:
            self._silent_since_s = now_s
        elif now_s - self._silent_since_s > patience_s:
            raise LinkLost(f"no confirm for {patience_s:g} s")

    def close(self) -> None:
        """Say goodbye and wait for the answer, a moment at most. Raises: as `receive`."""
        self._connection.send_method(amqp.spec.Connection.Close, "BsBB", (200, "", 0, 0))
        self.flush()
        answer = select.poll()
        answer.register(self._socket, select.POLLIN)
        while self._connection.connected and answer.poll(STEP_TIMEOUT_S * 1000):
            self.receive()

    def drop(self) -> None:
        """Let go of the connection as it is."""
        self._connection.collect()

    def forget(self) -> None:
        """Let go of a socket that is another process's too, without a word to the broker."""
        self._socket.close()

    def _on_frame(self, kind: int, channel: int, payload: bytes) -> None:
        method = payload[:4] if kind == wire.METHOD else b""
        if method == wire.ACK:
            self._answered(payload, None)
        elif method == wire.NACK:
            self._answered(payload, "nacked")
        elif method == wire.CHANNEL_CLOSE:
            # The library would open the channel again at once, with tags that start anew.
            (code,) = unpack_from(">H", payload, 4)
            text = payload[7 : 7 + payload[6]].decode(errors="replace")
            raise LinkLost(f"the broker closed the channel: {code} {text}")
        else:
            self._connection.on_inbound_frame((kind, channel, payload))

    def _answered(self, payload: bytes, reason: Reason | None) -> None:
        tag, flags = unpack_from(">QB", payload, 4)
        self.confirms.answered(tag, multiple=bool(flags & 1), reason=reason)

    def _on_return(self, _why: Exception, _exchange: str, _key: str, message: Any) -> None:
        self.confirms.returned(message.properties.get("message_id", ""))

    def _on_blocked(self, _why: str) -> None:
        self.blocked = True

    def _on_unblocked(self) -> None:
        self.blocked = False

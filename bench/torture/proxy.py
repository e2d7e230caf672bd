"""A TCP proxy between two parts, which can be told to be a bad network."""

import asyncio
import random
import socket
import struct
from collections import deque
from typing import Final

from bench.torture.frames import (
    BASIC_ACK,
    BASIC_CONSUME,
    BASIC_DELIVER,
    CONFIRM_SELECT,
    Frames,
    Method,
    unknown_ack,
)
from ops.stack.ports import HOST

COMMIT: Final = b"COMMIT\0"
"""How psycopg2 asks Postgres for a commit: the end of a simple query."""

_HELD_BYTES_MOST: Final = 1 << 20


class Link:
    """Listens on a port of its own and passes everything on to a target, as well as it may.

    Everything is called from one event loop. `delay_s` is added each way; `stalled` keeps
    every connection open and lets nothing through; what waited goes on when that ends.
    """

    def __init__(self, name: str, target_port: int, *, amqp: bool = False) -> None:
        self.name = name
        self.target_port = target_port
        self.amqp = amqp
        self.port = 0
        self.delay_s = 0.0
        self.delivered = 0
        """Messages that RabbitMQ delivered to the client, or confirmed to it, since the start."""
        self.cuts = 0
        """Connections that were cut at a certain word since the start."""
        self._stalled = False
        self._cut_at: str | None = None
        self._cut_done: asyncio.Event = asyncio.Event()
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to listen; the port stays the same from then on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Side(_Pair(self)), HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening and cut everything."""
        if self._server is not None:
            self._server.close()
        self.reset()

    def stall(self) -> None:
        """Let nothing through, in either direction, until `release`."""
        self._stalled = True
        for pair in self._pairs:
            pair.pause()

    def release(self) -> None:
        """Be a good network again; what was held goes on, in order."""
        self._stalled = False
        self.delay_s = 0.0
        for pair in tuple(self._pairs):
            pair.resume()

    def reset(self) -> None:
        """Reset every connection, as a router that has forgotten them would."""
        for pair in tuple(self._pairs):
            pair.abort()

    async def cut_at(self, word: str, timeout_s: float) -> bool:
        """Cut the next connection that says a word; whether one did in time.

        The words: `commit` (Postgres is asked and the answer is lost), `before-commit` (it is
        never asked), `ack` (a worker's acknowledgement is lost), `confirm` (the broker's
        promise to a publisher is lost).
        """
        self._cut_at, self._cut_done = word, asyncio.Event()
        try:
            await asyncio.wait_for(self._cut_done.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            self._cut_at = None
        return True

    def close_channel(self, chance: random.Random) -> bool:
        """Make the broker close a channel of a client for a protocol error; whether one could be.

        A frame that acknowledges what was never delivered is put into the client's stream.
        """
        ready = [pair for pair in self._pairs if pair.channels and pair.between_frames]
        if not ready:
            return False
        pair = chance.choice(sorted(ready, key=lambda each: min(each.channels)))
        pair.inject(unknown_ack(chance.choice(sorted(pair.channels))))
        return True

    @property
    def stalled(self) -> bool:
        """Whether nothing goes through."""
        return self._stalled

    def connected(self, pair: "_Pair") -> None:
        """A client has come."""
        self._pairs.add(pair)

    def gone(self, pair: "_Pair") -> None:
        """A client has left."""
        self._pairs.discard(pair)

    def wants_cut(self, data: bytes, methods: list[Method], *, from_client: bool) -> str | None:
        """The word at which this piece is to be cut, if it says it."""
        word = self._cut_at
        if word is None:
            return None
        acks = any(method.id == BASIC_ACK for method in methods)
        said = {
            "commit": from_client and COMMIT in data,
            "before-commit": from_client and COMMIT in data,
            "ack": from_client and acks,
            "confirm": not from_client and acks,
        }[word]
        if not said:
            return None
        self._cut_at = None
        self.cuts += 1
        self._cut_done.set()
        return word


class _Pair:
    """A client's connection and the one made for it to the target."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.client: _Side | None = None
        self.server: _Side | None = None
        self.channels: set[int] = set()
        """Channels that consume, or publish with confirms."""
        self._frames = (Frames(from_client=True), Frames(from_client=False))

    @property
    def between_frames(self) -> bool:
        """Whether a frame may be put into the client's stream now."""
        return self.server is not None and self._frames[0].between and not self.link.stalled

    async def connect(self) -> None:
        """Connect to the target; a client whose target is away is reset."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _Side(self), HOST, self.link.target_port)
        except OSError:
            self.abort()

    def passing(self, data: bytes, *, from_client: bool) -> tuple[bytes, bool]:
        """What of a piece is to be passed on, and whether the connection ends with it."""
        methods: list[Method] = []
        if self.link.amqp:
            methods = self._frames[0 if from_client else 1].feed(data)
            for method in methods:
                if method.id in (BASIC_CONSUME, CONFIRM_SELECT) and from_client:
                    self.channels.add(method.channel)
                self.link.delivered += not from_client and method.id in (BASIC_DELIVER, BASIC_ACK)
        word = self.link.wants_cut(data, methods, from_client=from_client)
        if word is None:
            return data, False
        return (data if word == "commit" else b""), True

    def inject(self, data: bytes) -> None:
        """Put bytes into the client's stream."""
        if self.server is not None:
            self.server.send(data)

    def cut(self) -> None:
        """The client is reset; the target gets what is on its way, and then the end."""
        if self.client is not None:
            self.client.abort()
        if self.server is not None:
            self.server.finish()

    def abort(self) -> None:
        """Reset both sides."""
        for side in (self.client, self.server):
            if side is not None:
                side.abort()
        self.link.gone(self)

    def pause(self) -> None:
        """Read no more."""
        for side in (self.client, self.server):
            if side is not None:
                side.pause_reading()

    def resume(self) -> None:
        """Send what was held and read again."""
        for side in (self.client, self.server):
            if side is not None:
                side.flush()
                side.resume_reading()


class _Side(asyncio.Protocol):
    """One of the two connections of a pair; the first to be made is the client's."""

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair
        self._transport: asyncio.Transport | None = None
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._is_client = False
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        pair = self._pair
        if pair.client is None:
            self._is_client, pair.client = True, self
            pair.link.connected(pair)
            self._connecting = asyncio.get_running_loop().create_task(pair.connect())
        else:
            pair.server = self
            if pair.client.is_gone:
                self.abort()
            else:
                pair.client.flush()
        if pair.link.stalled:
            self.pause_reading()

    def data_received(self, data: bytes) -> None:
        link = self._pair.link
        self._held.append((asyncio.get_running_loop().time() + link.delay_s, data))
        self._held_bytes += len(data)
        if self._held_bytes > _HELD_BYTES_MOST:
            self.pause_reading()
        self.flush()

    def flush(self) -> None:
        """Pass on what is due, unless the network stalls or there is nobody yet."""
        other = self._pair.server if self._is_client else self._pair.client
        now = asyncio.get_running_loop().time()
        while self._held and other is not None and not self._pair.link.stalled:
            due_at, data = self._held[0]
            if due_at > now:
                self._flush_at(due_at)
                return
            self._held.popleft()
            self._held_bytes -= len(data)
            if self._held_bytes <= _HELD_BYTES_MOST:
                self.resume_reading()
            data, ends = self._pair.passing(data, from_client=self._is_client)
            if data:
                other.send(data)
            if ends:
                self._pair.cut()
                return
        if self._ending and not self._held and other is not None:
            other.finish()

    def _flush_at(self, at: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(at, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._ending = True
        self.flush()
        if self._is_client:
            self._pair.link.gone(self._pair)

    def pause_writing(self) -> None:
        other = self._pair.server if self._is_client else self._pair.client
        if other is not None:
            other.pause_reading()

    def resume_writing(self) -> None:
        other = self._pair.server if self._is_client else self._pair.client
        if other is not None and not self._pair.link.stalled:
            other.resume_reading()

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended."""
        return self._transport is None

    def send(self, data: bytes) -> None:
        """Write, unless it is gone."""
        if self._transport is not None:
            self._transport.write(data)

    def finish(self) -> None:
        """Close after what has been written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Reset: what has not been read by the other side is lost."""
        if self._transport is not None:
            tcp = self._transport.get_extra_info("socket")
            # Lingering for no time makes the end a reset instead of a goodbye.
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def pause_reading(self) -> None:
        """Read no more, so that the kernel holds it."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()

"""Who is called back: a server that does nothing but note what came, and when."""

import asyncio
import re
import threading
import time
from typing import Final, NamedTuple, Self

from ops.errors import OperatorError
from ops.stack.ports import HOST

_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_NAME: Final = re.compile(rb"\r\nwebhook-id: ([\w-]+)\r\n", re.IGNORECASE)
_ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"

_POLL_S: Final = 0.02
_PATIENCE_S: Final = 60.0
"""Without a single further callback for so long, something is broken."""


class Call(NamedTuple):
    """One request as it came, and when: seconds since the epoch."""

    at_s: float
    head: bytes
    body: bytes


class Receiver:
    """Takes callbacks in a thread of its own, the same for whoever calls."""

    def __init__(self) -> None:
        self.calls: dict[bytes, Call] = {}
        """The first call of each event, in the order of their coming."""
        self.repeats = 0
        self.port = 0
        self.connections: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}/"

    def __enter__(self) -> Self:
        listening = self._loop.create_server(lambda: _Connection(self), HOST, 0)
        self._server = self._loop.run_until_complete(listening)
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join()
        self._loop.close()

    def take(self, head: bytes, body: bytes) -> None:
        """Note one request."""
        name = _NAME.search(head)
        if name is None or name[1] in self.calls:
            self.repeats += 1
        else:
            self.calls[name[1]] = Call(time.time(), head, body)

    def clear(self) -> None:
        """Forget everything."""
        self.calls, self.repeats = {}, 0

    def wait(self, expected: int) -> None:
        """Return once so many events came. Raises: OperatorError if they stop coming."""
        known, until = -1, 0.0
        while (count := len(self.calls)) < expected:
            if count > known:
                known, until = count, time.monotonic() + _PATIENCE_S
            if time.monotonic() > until:
                raise OperatorError(f"Of {expected} callbacks {count} came.")
            # Their times are noted by the receiver's thread, so looking seldom changes none.
            time.sleep(_POLL_S)

    def per_s(self) -> float:
        """How many a second came, from the first to the last."""
        times = [call.at_s for call in self.calls.values()]
        return (len(times) - 1) / (times[-1] - times[0])

    def _end(self) -> None:
        self._server.close()
        for connection in self.connections:
            connection.abort()
        self._loop.call_soon(self._loop.stop)


class _Connection(asyncio.Protocol):
    """One connection, which is kept."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver.connections.add(transport)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._receiver.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (begin := self._held.find(_END_OF_HEAD)) >= 0:
            begin += len(_END_OF_HEAD)
            head = self._held[:begin]
            found = _LENGTH.search(head)
            end = begin + (int(found[1]) if found else 0)
            if len(self._held) < end:
                return
            self._receiver.take(head, self._held[begin:end])
            self._held = self._held[end:]
            self._transport.write(_ANSWER)

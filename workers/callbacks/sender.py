"""POSTs to receivers whom nobody has reason to trust: where to, for how long, and how much back.

One event loop in a thread of its own serves all deliveries of a process. The address that a
socket is about to be connected to is judged itself, so a name that means another address by
then gains nothing.
"""

import asyncio
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from config.version import VERSION
from domain.addresses import check_url, may_connect
from domain.signatures import signed_headers
from workers.callbacks.door import IN_FLIGHT, Door
from workers.callbacks.letters import Attempt, Letter
from workers.callbacks.schedule import retry_after_s

TIMEOUT_S: Final = 15.0
"""From looking up the name to the answer's headers."""

BODY_BYTES_MOST: Final = 65_536
ANSWER_BYTES_MOST: Final = 2 * BODY_BYTES_MOST
"""All that a receiver may say to one request, interim answers and headers included."""

BODY_TIMEOUT_S: Final = 1.0
"""An answer's body is read only so that its connection can be used again."""

KEPT_ALIVE_S: Final = 4.0
"""Less than the shortest time that common servers keep an idle connection, which is 5 s."""

_LOOK_UPS_AT_ONCE: Final = 64
"""Threads: a name server that does not answer holds one for each name."""

_REFUSED: Final = "address not allowed"

_T = TypeVar("_T")

LookUp = Callable[[str, int], list[tuple[Any, ...]]]
"""A name's addresses as `socket.getaddrinfo` gives them; blocking."""


class AddressRefused(OSError):
    """The name, or the very address, is not where a callback may go."""


def _look_up(host: str, port: int) -> list[tuple[Any, ...]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


class _Connection:
    """What a request learns of its connection: whether it was made for it."""

    is_new = False


_CONNECTION: Final[ContextVar[_Connection]] = ContextVar("connection")


class Sender:
    """Sends letters from any thread. `look_up` is for tests of names that change."""

    def __init__(
        self,
        *,
        allow_loopback: bool = False,
        ca_file: str | None = None,
        look_up: LookUp = _look_up,
    ) -> None:
        """`ca_file` holds certificates to trust besides the system's. Raises: OSError."""
        self._allow_loopback = allow_loopback
        self._tls = ssl.create_default_context()
        if ca_file is not None:
            self._tls.load_verify_locations(ca_file)
        self._look_up = look_up
        self._stopping = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._doors: dict[str, Door] = {}
        self._threads = ThreadPoolExecutor(_LOOK_UPS_AT_ONCE, thread_name_prefix="look-up")
        thread = threading.Thread(target=self._loop.run_forever, name="sender", daemon=True)
        thread.start()
        self._thread = thread
        self._session = self._run(self._open())

    def start(
        self,
        endpoint_id: str,
        url: str,
        letters: Sequence[Letter],
        secrets: Sequence[bytes],
        for_s: float = math.inf,
    ) -> "Future[list[Attempt | None]]":
        """POST the letters, IN_FLIGHT at once to one endpoint; what comes of each, in order.

        They follow those that are on their way to the endpoint already, so that it never waits
        between the two. None stands for those that were not tried: because `for_s` seconds were
        over, because the receiver had enough or failed IN_FLIGHT times in a row, by these letters
        or by those before them, or because of `stop`.
        """
        batch = _Batch(url, letters, secrets, time.monotonic() + for_s)
        return asyncio.run_coroutine_threadsafe(self._send(endpoint_id, batch), self._loop)

    def stop(self) -> None:
        """Send nothing more. What is on its way is waited for."""
        self._stopping.set()

    def close(self) -> None:
        """Close every connection. Final; nothing may be on its way."""
        self._run(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,  # Each endpoint has its own.
            resolver=_Resolver(self._resolve),
            ttl_dns_cache=0,  # Those who ask at once share an answer, and nobody later.
            socket_factory=self._socket,
            ssl=self._tls,
            keepalive_timeout=KEPT_ALIVE_S,
        )
        connector._factory = partial(_Listening, loop=self._loop)  # type: ignore[assignment]
        return aiohttp.ClientSession(
            connector=connector,
            # No cookies, no proxies of the environment, no credentials of a .netrc.
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, ceil_threshold=2 * TIMEOUT_S),
            headers={
                "User-Agent": f"Tekana/{VERSION}",
                "Content-Type": "application/json",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
            },
        )

    async def _send(self, endpoint_id: str, batch: "_Batch") -> list[Attempt | None]:
        door = self._doors.setdefault(endpoint_id, Door(self._stopping))
        door.batches += 1
        attempts: list[Attempt | None] = [None] * len(batch.letters)
        waiting: Iterator[tuple[int, Letter]] = iter(enumerate(batch.letters))
        # The rule may be newer than the row that holds the URL.
        refused = check_url(batch.url, allow_loopback=self._allow_loopback) is not None

        async def lane() -> None:
            async with door.lanes:
                while door.goes_on(batch.until_s):
                    place, letter = next(waiting, (-1, None))
                    if letter is None:
                        return
                    if refused:
                        attempt = Attempt(datetime.now(UTC), 0, None, _REFUSED)
                    else:
                        attempt = await self._attempt(batch.url, letter, batch.secrets)
                    attempts[place] = attempt
                    door.note(attempt)

        try:
            await asyncio.gather(*(lane() for _ in range(min(IN_FLIGHT, len(batch.letters)))))
        finally:
            door.batches -= 1
            if not door.batches:
                del self._doors[endpoint_id]
        return attempts

    async def _attempt(self, url: str, letter: Letter, secrets: Sequence[bytes]) -> Attempt:
        began_at, began_s = datetime.now(UTC), time.perf_counter()
        headers = signed_headers(secrets, letter.event_id, int(began_at.timestamp()), letter.body)
        status, error, wait_s = None, None, None
        try:
            status, wait_s = await self._post(url, letter.body, headers)
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            error = _told(failure)
        duration_ms = round((time.perf_counter() - began_s) * 1000)
        return Attempt(began_at, duration_ms, status, error, wait_s)

    async def _post(
        self, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, float | None]:
        connection = _Connection()
        _CONNECTION.set(connection)
        # Both POSTs together: who delivers has so long and no longer for itself.
        async with asyncio.timeout(TIMEOUT_S + BODY_TIMEOUT_S):
            try:
                return await self._post_once(url, body, headers)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as failure:
                # A server may close an idle connection just when we take it up again.
                if connection.is_new or isinstance(failure, aiohttp.ClientConnectorError):
                    raise
            return await self._post_once(url, body, headers)

    async def _post_once(
        self, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, float | None]:
        async with self._session.post(
            url, data=body, headers=headers, allow_redirects=False
        ) as response:
            asked = response.headers.get("Retry-After")
            wait_s = None if asked is None else retry_after_s(asked, datetime.now(UTC))
            await _drop_body(response)
            return response.status, wait_s

    async def _resolve(self, host: str, port: int) -> list[ResolveResult]:
        """Look a name up. If one of its addresses may not be connected to, none is."""
        infos = await self._loop.run_in_executor(self._threads, self._look_up, host, port)
        found = []
        for family, _, proto, _, (address, *_) in infos:
            self._check(address, port)
            found.append(
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=family,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return found

    def _socket(self, info: Any) -> socket.socket:
        """A socket for this address and no other, if it may be connected to."""
        family, kind, proto, _, (address, port, *_) = info
        self._check(address, port)
        _CONNECTION.get().is_new = True
        return socket.socket(family, kind, proto)

    def _check(self, address: str, port: int) -> None:
        if not may_connect(address, port, allow_loopback=self._allow_loopback):
            raise AddressRefused(_REFUSED)


class _Batch(NamedTuple):
    """Letters to one URL, each signed by all of the secrets; none is begun after `until_s`."""

    url: str
    letters: Sequence[Letter]
    secrets: Sequence[bytes]
    until_s: float


class _Listening(ResponseHandler):
    """A connection that ends when the receiver says too much.

    aiohttp bounds headers, and reads as many interim answers (1xx) as somebody cares to send.
    """

    _said_bytes = 0

    def set_response_params(self, **options: Any) -> None:
        """Listen to the answer of the next request."""
        self._said_bytes = 0
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is too much for one answer."""
        self._said_bytes += len(data)
        if self._said_bytes > ANSWER_BYTES_MOST:
            self.abort()
        else:
            super().data_received(data)


class _Resolver(AbstractResolver):
    def __init__(self, resolve: Callable[[str, int], Any]) -> None:
        self._resolve = resolve

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  Any is fine.
    ) -> list[ResolveResult]:
        found: list[ResolveResult] = await self._resolve(host, port)
        return found

    async def close(self) -> None:
        pass


async def _drop_body(response: aiohttp.ClientResponse) -> None:
    """Read a short body to its end; of a long or slow one, let go together with its connection."""
    if response.content.at_eof():
        return
    left = BODY_BYTES_MOST
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while left > 0:
                part = await response.content.read(left)
                if not part:
                    return
                left -= len(part)
    except (aiohttp.ClientError, OSError):
        pass
    response.close()


_WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (TimeoutError, "timeout"),
    (AddressRefused, _REFUSED),
    (aiohttp.InvalidURL, _REFUSED),
    (aiohttp.ClientConnectorDNSError, "name not found"),
    (aiohttp.ClientConnectorCertificateError, "certificate not valid"),
    (aiohttp.ClientSSLError, "no TLS"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.ServerDisconnectedError, "connection closed"),
    (aiohttp.ClientOSError, "connection closed"),
    (aiohttp.ClientResponseError, "no HTTP"),
)


def _told(failure: BaseException) -> str:
    """The failure in our words: a library's may repeat the URL, or what the receiver said."""
    if isinstance(failure, aiohttp.ClientConnectorError) and _is_refusal(failure.os_error):
        return _REFUSED
    return next((words for kind, words in _WORDS if isinstance(failure, kind)), "failed")


def _is_refusal(error: BaseException | None) -> bool:
    """Several addresses that all fail are told as one error, with our words in its own."""
    return isinstance(error, AddressRefused) or _REFUSED in str(error)

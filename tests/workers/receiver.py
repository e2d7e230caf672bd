"""A receiver of callbacks in this process: a real HTTP server that can be told to misbehave."""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple


class Received(NamedTuple):
    """One POST as it came in."""

    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Answer(NamedTuple):
    """What to say to one POST."""

    status: int = 204
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    close: bool = False
    hang: bool = False


Behave = Callable[[Received, int], Answer]
"""Given a POST and how many came before it."""


class Receiver:
    """Listens on a free port of 127.0.0.1 until it is closed."""

    def __init__(self, behave: Behave = lambda *_: Answer(), tls: ssl.SSLContext | None = None):
        self.behave = behave
        self.received: list[Received] = []
        self.accepted: list[Received] = []
        self.in_flight = self.in_flight_most = 0
        self.connections = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                with receiver._lock:
                    receiver.connections += 1
                super().setup()

            def do_POST(self) -> None:
                receiver._handle(self)

            def do_GET(self) -> None:
                raise AssertionError("a redirect was followed")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/hook"
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.url = f"https://localhost:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def ids(self) -> list[str]:
        """The id of each event that was accepted, repeats included."""
        return [one.id for one in self.accepted]

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        received = Received(headers, body, time.time())
        with self._lock:
            before = len(self.received)
            self.received.append(received)
            self.in_flight += 1
            self.in_flight_most = max(self.in_flight_most, self.in_flight)
        try:
            self._answer(handler, received, self.behave(received, before))
        finally:
            with self._lock:
                self.in_flight -= 1

    def _answer(self, handler: BaseHTTPRequestHandler, received: Received, answer: Answer) -> None:
        if answer.hang:
            self._over.wait(60)
        if answer.close or answer.hang:
            handler.close_connection = True
            return
        if 200 <= answer.status < 300:
            with self._lock:
                self.accepted.append(received)
        handler.send_response(answer.status)
        for name, value in answer.headers:
            handler.send_header(name, value)
        if answer.status != 204:
            handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        with contextlib.suppress(OSError):  # Whoever has read enough closes.
            handler.wfile.write(answer.body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is none."""


@contextlib.contextmanager
def receiving(
    behave: Behave = lambda *_: Answer(), tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """A receiver for the length of a block."""
    receiver = Receiver(behave, tls)
    try:
        yield receiver
    finally:
        receiver.close()


def server_tls(certificate: Path) -> ssl.SSLContext:
    """For a receiver with this certificate and key, both in one file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context

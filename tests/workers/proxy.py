"""A TCP proxy that can keep back what the client says: acknowledgements that get lost."""

import re
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class Proxy:
    """Listens on a port of its own and passes everything on to a target, until told not to."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        self.lose: re.Pattern[bytes] | None = None
        """What is cut out of all that the client sends from now on."""
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Keep back all that the client sends from now on; what the server sends passes."""
        self._open.clear()

    def cut(self) -> None:
        """Cut all connections; new ones are accepted."""
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut all connections; what was kept back is lost."""
        for one in (self._listener, *self._sockets):
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            for pair in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, held: bool) -> None:
        try:
            while data := source.recv(65536):
                while held and not self._open.wait(0.05):
                    if source.fileno() < 0:
                        return
                sink.sendall(self.lose.sub(b"", data) if held and self.lose else data)
        except OSError:
            pass
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

"""The API as a careful client calls it: kept connections, and repeats that are safe."""

import http.client
import json
import threading
import time
from typing import Any, Final
from urllib.parse import urlsplit

from ops.errors import OperatorError

_PATIENCE_S: Final = 60.0
"""How long a request is repeated before the demo gives up."""

_ANSWER_TIMEOUT_S: Final = 35.0
_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0
_REPEATED: Final = frozenset({429, 503})


class Stopped(Exception):
    """The demo is ending; what remains to be done is left undone."""


class Api:
    """One API, called from any number of threads, each with a connection of its own.

    Every instruction carries an idempotency key, so that whatever went wrong on the way, the
    answer is to send the same bytes again.
    """

    def __init__(self, url: str, key: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._mine = threading.local()
        self._guard = threading.Lock()
        self._open: list[http.client.HTTPConnection] = []
        self._stopping = threading.Event()
        self.repeats = 0
        """How many requests had to be sent again."""

    def post(
        self, path: str, body: Any, *, idempotency_key: str | None = None, wait_s: int = 0
    ) -> dict[str, Any]:
        """Post JSON and return the answer's. Raises: OperatorError, Stopped."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        status, answer = self._send("POST", path, json.dumps(body).encode(), headers, wait_s)
        if status not in (200, 201, 202):
            raise _refused("POST", path, status, answer)
        return answer

    def get(self, path: str, *, wait_s: int = 0) -> dict[str, Any] | None:
        """Read JSON; None if there is no such thing (yet). Raises: OperatorError, Stopped."""
        status, answer = self._send("GET", path, None, {}, wait_s)
        if status == 404:
            return None
        if status != 200:
            raise _refused("GET", path, status, answer)
        return answer

    def stop(self) -> None:
        """End the waiting of every thread as soon as it looks up."""
        self._stopping.set()

    def close(self) -> None:
        """Close all connections. No thread may use them any more."""
        for each in self._open:
            each.close()

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], wait_s: int
    ) -> tuple[int, dict[str, Any]]:
        wait = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        until = time.monotonic() + _PATIENCE_S
        while True:
            if self._stopping.is_set():
                raise Stopped
            pause_s, trouble = _PAUSE_S, ""
            connection = self._connection()
            try:
                connection.request(method, path, body, self._headers | headers | wait)
                response = connection.getresponse()
                answer = response.read()
                if response.status not in _REPEATED:
                    return response.status, _decoded(answer)
                pause_s = _pause_s(response.headers.get("Retry-After"))
                trouble = f"it answers {response.status}"
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                trouble = f"{type(error).__name__}: {error}"
            if time.monotonic() > until:
                raise OperatorError(
                    f"The API has not taken {method} {path} for {_PATIENCE_S:g} s ({trouble}).",
                    "Look at ./tekana status and at the logs in .run/logs",
                )
            with self._guard:
                self.repeats += 1
            self._stopping.wait(pause_s)

    def _connection(self) -> http.client.HTTPConnection:
        """The calling thread's own; http.client opens it again by itself once it is closed."""
        found: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if found is None:
            found = http.client.HTTPConnection(self._host, self._port, timeout=_ANSWER_TIMEOUT_S)
            self._mine.connection = found
            with self._guard:
                self._open.append(found)
        return found


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {}


def _pause_s(retry_after: str | None) -> float:
    if retry_after is None or not retry_after.isdecimal():
        return _PAUSE_S
    return min(float(retry_after), _LONGEST_PAUSE_S)


def _refused(method: str, path: str, status: int, problem: dict[str, Any]) -> OperatorError:
    return OperatorError(
        f"The API refused {method} {path}: {status} {problem.get('code', '')}.",
        "The demo sent what the API does not take: this is a defect; please report it.",
        detail=json.dumps(problem),
    )

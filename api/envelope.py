"""What every answer carries and every request leaves behind, whatever the views do."""

import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Final

from flask import request

_REQUEST_ID: Final = "tekana.request_id"

_LOG: Final = logging.getLogger("api.requests")

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


def request_id() -> str:
    """The name of the request in hand, ours and never the caller's: 16 hexadecimal digits."""
    named: str = request.environ[_REQUEST_ID]
    return named


def enveloped(application: Application) -> Application:
    """Name each request, add the headers that every answer has, and log.

    Done here, outside Flask, because its hooks cost more (`docs/decisions/0031-the-api.md`).
    """

    def run(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[_REQUEST_ID] = named = secrets.token_hex(8)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            headers.append(("X-Request-Id", named))
            headers.append(("X-Content-Type-Options", "nosniff"))
            if not any(name == "Cache-Control" for name, _ in headers):
                headers.append(("Cache-Control", "no-store"))
            _log(environ, named, int(status[:3]))
            return start_response(status, headers, *more)

        return application(environ, start)

    return run


def _log(environ: Environ, named: str, status: int) -> None:
    """One line a request: errors always, the rest at DEBUG."""
    level = logging.DEBUG if status < 400 else logging.INFO if status < 500 else logging.ERROR
    if not _LOG.isEnabledFor(level):
        return
    handled = environ.get("werkzeug.request")
    rule = handled.url_rule if handled is not None else None
    facts = {
        "request_id": named,
        "method": environ["REQUEST_METHOD"],
        # The rule and not the path: a path may hold anything.
        "route": rule.rule if rule is not None else None,
        "status": status,
    }
    _LOG.log(level, "request", extra=facts)

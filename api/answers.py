"""How answers are made: JSON bytes, and the headers that all of them carry."""

import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from flask import Response, request

JSON: Final = "application/json"

_REQUEST_ID: Final = "tekana.request_id"


def request_id() -> str:
    """The name of the request in hand, ours and never the caller's: 16 hexadecimal digits."""
    known: str | None = request.environ.get(_REQUEST_ID)
    if known is None:
        known = request.environ[_REQUEST_ID] = secrets.token_hex(8)
    return known


def to_json(view: Any) -> bytes:
    """A view as it is sent and as it is remembered."""
    return json.dumps(view, ensure_ascii=False, separators=(",", ":")).encode()


def answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of ready JSON."""
    response = Response(body, status, content_type=JSON)
    if headers:
        response.headers.update(headers)
    return response


def secured(response: Response) -> Response:
    """Add what every answer carries."""
    headers = response.headers
    headers["X-Request-Id"] = request_id()
    headers["X-Content-Type-Options"] = "nosniff"
    if "Cache-Control" not in headers:
        headers["Cache-Control"] = "no-store"
    return response

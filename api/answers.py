"""How answers are made: JSON bytes, sent as they are."""

import json
from collections.abc import Mapping
from typing import Any, Final

from flask import Response
from werkzeug.datastructures import Headers

JSON: Final = "application/json"

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Answer(Response):
    """A response whose headers are ready: its length is known and its addresses are ASCII."""

    def get_wsgi_headers(self, environ: Any) -> Headers:  # noqa: ARG002
        """The headers as they are. Werkzeug's own way parses each address anew."""
        return self.headers


def to_json(view: Any) -> bytes:
    """A view as it is sent and as it is remembered."""
    return _ENCODER.encode(view).encode()


def answer(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None, media: str = JSON
) -> Response:
    """An answer of ready bytes, by default JSON."""
    return Answer(body, status, headers, content_type=media)

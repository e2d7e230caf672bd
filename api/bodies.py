"""From bytes that anybody may have sent to data that the types accept."""

from typing import Any, Final

from flask import request
from pydantic import ValidationError

from api.answers import JSON
from api.problems import Problem
from domain.decoding import MalformedJson, decode_json
from domain.instructions import DATA, Data
from domain.problems import field_errors

BATCH_BYTES_MAX: Final = 1024 * 1024


def read_json(limit_bytes: int) -> Any:
    """The body of the request in hand as decoded JSON, reading no more than the limit.

    Raises: Problem 413, 415, or 400 malformed_json.
    """
    environ = request.environ
    if (
        environ.get("CONTENT_TYPE") != JSON and request.mimetype != JSON
    ) or "HTTP_CONTENT_ENCODING" in environ:
        raise Problem("unsupported_media_type")
    try:
        return decode_json(_read(environ, limit_bytes))
    except MalformedJson as error:
        raise Problem("malformed_json", str(error)) from None


def _read(environ: dict[str, Any], limit_bytes: int) -> bytes:
    """The whole body. Werkzeug's way cuts a chunked one off at its limit in silence."""
    declared: str = environ.get("CONTENT_LENGTH") or ""
    length = int(declared) if declared.isascii() and declared.isdigit() else None
    if length is not None and length > limit_bytes:
        raise Problem("body_too_large")
    # A chunked body does not tell its length: one byte more than the limit would be too much.
    wanted = limit_bytes + 1 if length is None else length
    body = b""
    while len(body) < wanted and (piece := environ["wsgi.input"].read(wanted - len(body))):
        body += piece
    if len(body) > limit_bytes:
        raise Problem("body_too_large")
    # A caller who hangs up in the middle of a body has not said the rest of it.
    if length is not None and len(body) < length:
        raise Problem("malformed_request")
    return body


def decoded(instruction_type: str, data: Any, pointer: str = "") -> Data:
    """The data of an instruction. `pointer` says where it stood in the body.

    Raises: Problem 422 invalid_body.
    """
    try:
        return DATA[instruction_type].model_validate(data)
    except ValidationError as error:
        raise Problem("invalid_body", errors=field_errors(error, pointer)) from None

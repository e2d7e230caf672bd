"""From bytes that anybody may have sent to data that the types accept."""

from collections.abc import Iterable
from typing import Any, Final

from flask import request
from pydantic import ValidationError

from api.answers import JSON
from api.problems import Problem
from domain.decoding import MalformedJson, decode_json
from domain.instructions import DATA, Data

BODY_BYTES_MAX: Final = 64 * 1024
BATCH_BYTES_MAX: Final = 1024 * 1024

_ERRORS_SHOWN: Final = 20
_NAME_SHOWN: Final = 64

_PREFIX: Final = "Value error, "

_IN_OUR_WORDS: Final = {
    "dict_type": "must be an object",
    "extra_forbidden": "is not known here",
    "missing": "is needed",
    "model_type": "must be an object",
    "string_unicode": "must be text without lone surrogates",
}
"""Where pydantic's words are about Python."""


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


def field_errors(error: ValidationError, pointer: str = "") -> list[dict[str, str]]:
    """What the types say, without a value that was sent."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return [
        {
            "pointer": pointer + _pointer(fault["loc"]),
            "detail": _IN_OUR_WORDS.get(fault["type"]) or fault["msg"].removeprefix(_PREFIX),
        }
        for fault in faults[:_ERRORS_SHOWN]
    ]


def _pointer(location: Iterable[int | str]) -> str:
    """A JSON pointer (RFC 6901). It ends early at a name of the caller's that is not plain."""
    pointer = ""
    for step in location:
        name = str(step)
        if name == "[key]":  # pydantic's way of saying that the key itself is wrong.
            continue
        if len(name) > _NAME_SHOWN or not name.isascii() or not name.isprintable():
            break
        pointer += "/" + name.replace("~", "~0").replace("/", "~1")
    return pointer

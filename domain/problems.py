"""What can be wrong with a request, whichever door it comes to, as RFC 9457 problem documents."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

BODY_BYTES_MAX: Final = 64 * 1024
"""One instruction, as the body of a request or of a message."""

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


class Kind(NamedTuple):
    """What all problems of one code have in common."""

    status: int
    title: str


KINDS: Final[dict[str, Kind]] = {
    "malformed_request": Kind(400, "The request is not HTTP as this server reads it."),
    "malformed_json": Kind(400, "The body is not one strict JSON text."),
    "idempotency_key_missing": Kind(400, "An idempotency key is needed."),
    "idempotency_key_invalid": Kind(
        400, "The idempotency key must be 1 to 255 visible ASCII characters."
    ),
    "unauthorized": Kind(401, "A valid API key is needed."),
    "forbidden": Kind(403, "The client is not allowed to do this."),
    "not_found": Kind(404, "There is no such thing, or it is not yours to see."),
    "method_not_allowed": Kind(405, "This address has no such method."),
    "too_many_endpoints": Kind(409, "The client has as many callback endpoints as it may have."),
    "body_too_large": Kind(413, "The body is too large."),
    "unsupported_media_type": Kind(415, "The body must be application/json, not compressed."),
    "invalid_body": Kind(422, "The body does not fit its type."),
    "invalid_query": Kind(422, "The query does not fit this address."),
    "idempotency_key_reused": Kind(422, "This idempotency key was used with another body."),
    "internal_error": Kind(500, "Something is wrong on our side."),
    "temporarily_unavailable": Kind(503, "Repeat the same request in a moment."),
}
"""Every code, as the contract names them. 429 belongs to whatever limits rates."""


def problem_document(
    code: str,
    request_id: str,
    detail: str | None = None,
    errors: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """The document that tells a caller what is wrong; it repeats nothing of what was sent.

    Each of `errors` has a `detail`, and a `pointer` into the body (RFC 6901), or the name of a
    query `parameter` or of a message's `property`.
    """
    kind = KINDS[code]
    document: dict[str, Any] = {
        "type": f"urn:tekana:problem:{code}",
        "title": kind.title,
        "status": kind.status,
        "code": code,
        "request_id": request_id,
    }
    if detail is not None:
        document["detail"] = detail
    if errors:
        document["errors"] = list(errors)
    return document


def field_errors(error: ValidationError, pointer: str = "") -> list[dict[str, str]]:
    """What the types say, without a value that was sent.

    `pointer` says where in the body the data stood.
    """
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

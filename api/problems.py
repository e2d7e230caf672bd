"""Every error that a caller can meet, as an RFC 9457 problem document."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from flask import Response

from api.answers import answer, to_json
from api.envelope import request_id

MEDIA_TYPE: Final = "application/problem+json"

RETRY_AFTER_S: Final = 1


class Kind(NamedTuple):
    """What all problems of one code have in common."""

    status: int
    title: str


KINDS: Final[dict[str, Kind]] = {
    "malformed_request": Kind(400, "The request is not HTTP as this server reads it."),
    "malformed_json": Kind(400, "The body is not one strict JSON text."),
    "idempotency_key_missing": Kind(400, "An Idempotency-Key header is needed."),
    "idempotency_key_invalid": Kind(
        400, "The Idempotency-Key must be 1 to 255 visible ASCII characters."
    ),
    "unauthorized": Kind(401, "A valid API key is needed."),
    "forbidden": Kind(403, "The API key lacks the scope for this."),
    "not_found": Kind(404, "There is no such thing, or it is not yours to see."),
    "method_not_allowed": Kind(405, "This address has no such method."),
    "body_too_large": Kind(413, "The body is too large."),
    "unsupported_media_type": Kind(415, "The body must be application/json, not compressed."),
    "invalid_body": Kind(422, "The body does not fit its type."),
    "invalid_query": Kind(422, "The query does not fit this address."),
    "idempotency_key_reused": Kind(422, "This idempotency key was used with another body."),
    "internal_error": Kind(500, "Something is wrong on our side."),
    "temporarily_unavailable": Kind(503, "Repeat the same request in a moment."),
}
"""Every code, as the contract names them. 429 belongs to whatever limits rates."""

_CODE_OF_STATUS: Final = {
    kind.status: code
    for code, kind in reversed(KINDS.items())  # Of several codes, the first is the general one.
}


class Problem(Exception):
    """Ends a request with a problem document. `detail` repeats nothing of what was sent.

    Each of `errors` has a `detail`, and a `pointer` into the body (RFC 6901) or the name of a
    query `parameter`.
    """

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.kind = KINDS[code]
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        self.members = members or {}
        if self.kind.status == 503:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))
        if self.kind.status == 401:
            self.headers.setdefault("WWW-Authenticate", "Bearer")

    def document(self) -> dict[str, Any]:
        """The problem document, as an answer's body or inside the answer to a batch."""
        document: dict[str, Any] = {
            "type": f"urn:tekana:problem:{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "code": self.code,
            "request_id": request_id(),
        }
        if self.detail is not None:
            document["detail"] = self.detail
        if self.errors:
            document["errors"] = list(self.errors)
        return {**document, **self.members}

    def response(self) -> Response:
        """The answer to the request."""
        return answer(to_json(self.document()), self.kind.status, self.headers, MEDIA_TYPE)


def problem_of_status(status: int, headers: Mapping[str, str]) -> Problem:
    """The problem that stands for an error of the framework's, with its own headers."""
    code = _CODE_OF_STATUS.get(status) or (
        "malformed_request" if status < 500 else "internal_error"
    )
    return Problem(code, headers=headers)

"""Every error that a caller can meet, as an RFC 9457 problem document."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flask import Response

from api.answers import answer, to_json
from api.envelope import request_id
from domain.problems import KINDS, problem_document

MEDIA_TYPE: Final = "application/problem+json"

RETRY_AFTER_S: Final = 1


_CODE_OF_STATUS: Final = {
    kind.status: code
    for code, kind in reversed(KINDS.items())  # Of several codes, the first is the general one.
}


class Problem(Exception):
    """Ends a request with a problem document, as `domain.problems` describes it."""

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
        document = problem_document(self.code, request_id(), self.detail, self.errors)
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

"""What is to be sent to an endpoint, and what came of it."""

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from domain.fields import timestamp_text

GONE: Final = 410
"""The status by which a receiver says that it wants nothing more, ever."""


class Letter(NamedTuple):
    """One event as it is sent."""

    event_id: str
    body: bytes


class Attempt(NamedTuple):
    """What came of one POST: a status or, without an answer, an error in a few words of ours."""

    began_at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    retry_after_s: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def enough(self) -> bool:
        """Whether the receiver asks for a pause, or for nothing more ever."""
        return self.status == GONE or (bool(self.retry_after_s) and not self.accepted)

    def record(self) -> dict[str, Any]:
        """The attempt as it is kept and shown."""
        record = {"at": timestamp_text(self.began_at), "duration_ms": self.duration_ms}
        return record | ({"error": self.error} if self.error else {"status": self.status})


class SenderGone(Exception):
    """Whoever was to send has ended: what was on its way may have arrived, or not."""


class Posts(Protocol):
    """Whoever posts letters: in this process, or in one of its own."""

    def start(
        self,
        endpoint_id: str,
        url: str,
        letters: Sequence[Letter],
        secrets: Sequence[bytes],
        for_s: float,
    ) -> "Future[list[Attempt | None]]":
        """POST the letters, a few at once, behind those on their way to the same endpoint.

        Gives what comes of each, in order. None stands for those that were not tried: because
        `for_s` seconds were over, because the receiver had enough, or because of `stop`. The
        future may raise SenderGone.
        """

    def stop(self) -> None:
        """Send nothing more. What is on its way is waited for."""

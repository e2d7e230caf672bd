"""API keys: who calls, looked up in Postgres and believed for a stated time."""

import re
import threading
import time
from datetime import UTC, datetime
from typing import Any, Final

from api.problems import Problem
from api.reading import Reading
from storage.clients import Client, authenticate, key_digest

REMEMBERED_MAX: Final = 4096
"""Look-ups that are kept, of keys that exist and, apart from them, of keys that do not."""

_SHAPE: Final = re.compile(r"Bearer +(tekana_(?:live|test)_[A-Za-z0-9_-]{43})", re.IGNORECASE)


class Keys:
    """Finds the client of an `Authorization` header.

    A look-up is believed for `believed_s`, so that is how late a revocation takes effect; an
    expiry takes effect at once. When Postgres is away and the time has run out, nobody is
    let in on the strength of an old look-up: 503. Kept by digest, never by key.
    """

    def __init__(self, reading: Reading, believed_s: float) -> None:
        self._reading = reading
        self._believed_s = believed_s
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, Client]] = {}
        self._unknown: dict[bytes, float] = {}

    def client_of(self, authorization: str | None) -> Client:
        """The client that an `Authorization` header stands for.

        Raises: Problem 401 for anything but a valid key, 503 if it cannot be looked up.
        """
        shape = _SHAPE.fullmatch(authorization or "")
        if shape is None:
            raise Problem("unauthorized")
        digest = key_digest(shape[1])
        client = self._remembered(digest) or self._looked_up(digest)
        if client.expires_at is not None and client.expires_at <= datetime.now(UTC):
            raise Problem("unauthorized")
        return client

    def _remembered(self, digest: bytes) -> Client | None:
        now = time.monotonic()
        known = self._known.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        if now < self._unknown.get(digest, now):
            raise Problem("unauthorized")
        return None

    def _looked_up(self, digest: bytes) -> Client:
        # Before the look-up, so that nothing is believed for longer than stated.
        until = time.monotonic() + self._believed_s
        client = self._reading(authenticate, digest)
        with self._lock:
            self._known.pop(digest, None)
            self._unknown.pop(digest, None)
            if client is None:
                _make_room(self._unknown)
                self._unknown[digest] = until
            else:
                _make_room(self._known)
                self._known[digest] = (until, client)
        if client is None:
            raise Problem("unauthorized")
        return client


def _make_room(remembered: dict[bytes, Any]) -> None:
    """Drop the oldest look-ups: dictionaries keep the order of insertion."""
    while len(remembered) >= REMEMBERED_MAX:
        del remembered[next(iter(remembered))]

"""Query parameters: each known, each once, each in its bounds."""

import base64
import binascii
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from flask import request
from pydantic import TypeAdapter, ValidationError

from api.problems import Problem
from domain.fields import Id, IdempotencyKey, LegacyId
from storage.feed import Cursor

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 200
SEQ_MAX: Final = 2**53

_NUMBER: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_FEED_PLACE: Final = re.compile(r"([0-9]{1,19})\.([0-9]{1,18})\.([0-9]{1,10})", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FEED_END_US: Final = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_ID: Final = TypeAdapter(Id)
_LEGACY_ID: Final = TypeAdapter(LegacyId)
_KEY: Final = TypeAdapter(IdempotencyKey)


class Query:
    """The query of the request in hand, limited to the parameters that its address knows.

    Raises: Problem 422 invalid_query, here and in every method.
    """

    def __init__(self, *known: str) -> None:
        for name, values in request.args.lists():
            if name not in known:
                refuse("*", f"known parameters are: {', '.join(known) or 'none'}")
            if len(values) > 1:
                refuse(name, "is given more than once")
        self._given = request.args

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int | None:
        """A whole number within bounds."""
        value = self._given.get(name)
        if value is None:
            return default
        if not _NUMBER.fullmatch(value) or not low <= int(value) <= high:
            refuse(name, f"must be a whole number from {low} to {high}")
        return int(value)

    def limit(self) -> int:
        """How many things a page holds."""
        return self.number("limit", 1, LIMIT_MAX) or LIMIT_DEFAULT

    def one_of(self, name: str, known: Collection[str]) -> str | None:
        """One of the words that are known, if any is given."""
        value = self._given.get(name)
        if value is not None and value not in known:
            refuse(name, f"must be one of: {', '.join(known)}")
        return value

    def legacy_id(self) -> str:
        """The id that a customer has somewhere else."""
        return self._typed(_LEGACY_ID, "legacy_id", "must be 1 to 100 characters")

    def idempotency_key(self) -> str:
        """The caller's name for an instruction."""
        return self._typed(_KEY, "idempotency_key", "must be 1 to 255 visible ASCII characters")

    def _typed(self, kind: TypeAdapter[str], name: str, rule: str) -> str:
        value = self._given.get(name)
        if value is None:
            refuse(name, "is needed")
        try:
            return kind.validate_python(value)
        except ValidationError:
            refuse(name, rule)

    def _cursor(self, kinds: str) -> tuple[str, str] | None:
        """The kind and the place of the page's start, as `cursor_of` wrote them."""
        value = self._given.get("cursor")
        if value is None:
            return None
        try:
            text = base64.b64decode(value.encode("ascii"), altchars=b"-_", validate=True).decode()
        except (ValueError, binascii.Error):
            refuse("cursor", "is none of ours")
        kind, place = text[:1], text[1:]
        if not kind or kind not in kinds:
            refuse("cursor", "is none of this list's")
        return kind, place

    def cursor_id(self) -> str | None:
        """The id after which the page starts."""
        cursor = self._cursor("i")
        if cursor is None:
            return None
        try:
            return _ID.validate_python(cursor[1])
        except ValidationError:
            refuse("cursor", "is none of ours")

    def cursor_seq(self) -> tuple[str, int] | None:
        """Which way the page goes (`<` newest first, `>` oldest first), and from where."""
        cursor = self._cursor("<>")
        if cursor is None:
            return None
        if not _NUMBER.fullmatch(cursor[1]):
            refuse("cursor", "is none of ours")
        return cursor[0], int(cursor[1])

    def cursor_delivery(self) -> tuple[datetime, str] | None:
        """The time and the id of the event after which the page starts."""
        cursor = self._cursor("d")
        if cursor is None:
            return None
        at_us, _, event_id = cursor[1].partition(".")
        if not _NUMBER.fullmatch(at_us):
            refuse("cursor", "is none of ours")
        try:
            named = _ID.validate_python(event_id)
        except ValidationError:
            refuse("cursor", "is none of ours")
        return _EPOCH + timedelta(microseconds=int(at_us)), named

    def cursor_feed(self) -> Cursor | None:
        """Where to go on reading a client's events."""
        cursor = self._cursor("f")
        if cursor is None:
            return None
        found = _FEED_PLACE.fullmatch(cursor[1])
        if found is None:
            refuse("cursor", "is none of ours")
        xact, at_us, ordinal = map(int, found.groups())
        if xact >= 2**63 or at_us > _FEED_END_US or ordinal >= 2**31:
            refuse("cursor", "is none of ours")
        return Cursor(xact, _EPOCH + timedelta(microseconds=at_us), ordinal)


def cursor_of_delivery(at: datetime, event_id: str) -> str:
    """The place of an event in a log of deliveries as a cursor."""
    return cursor_of("d", f"{(at - _EPOCH) // timedelta(microseconds=1)}.{event_id}")


def cursor_of_feed(cursor: Cursor) -> str:
    """A place in a client's events as a cursor."""
    at_us = (cursor.at - _EPOCH) // timedelta(microseconds=1)
    return cursor_of("f", f"{cursor.xact}.{at_us}.{cursor.ordinal}")


def cursor_of(kind: str, place: str | int) -> str:
    """A cursor: opaque to the caller, and worth nothing without the caller's rights."""
    return base64.urlsafe_b64encode(f"{kind}{place}".encode()).decode()


def refuse(name: str, why: str) -> NoReturn:
    """Raise Problem 422 invalid_query for one parameter."""
    raise Problem("invalid_query", errors=[{"parameter": name, "detail": why}])

"""The route of a client's own events, to fill gaps and to catch up."""

from typing import Final

from apiflask import APIBlueprint
from flask import Response

from api import schemas
from api.access import ANY_KEY, allowed_to, caller
from api.answers import answer, to_json
from api.openapi import described, query
from api.queries import LIMIT_DEFAULT, LIMIT_MAX, Query, cursor_of_feed, refuse
from api.reading import Reading
from domain.events import EventType
from storage import feed

_TYPES: Final = tuple(type_.value for type_ in EventType)

_PARAMETERS: Final = (
    query("cursor", {"type": "string"}, "The `next_cursor` of an answer, however old."),
    query("type", {"type": "string", "enum": list(_TYPES)}, "Only events of this type."),
    query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
        "How many events a page holds at most.",
    ),
)


def routes(read: Reading) -> APIBlueprint:
    """The route, reading from one Postgres."""
    blueprint = APIBlueprint("events", __name__, url_prefix="/v1", tag="Events")

    @blueprint.get("/events")
    @described(
        blueprint,
        {200: "A page of events, oldest first."},
        schema=schemas.EventPage,
        problems=(422,),
        parameters=_PARAMETERS,
    )
    @allowed_to(ANY_KEY)  # What a client was told, and may poll, each of its keys may read.
    def events() -> Response:
        """Read what happened to you in the last 30 days.

        There is always a `next_cursor`: keep it, and ask later for what came after. With `type`,
        a page may be short or empty although more follows: go on until the cursor stays the
        same.
        """
        asked = Query("cursor", "type", "limit")
        type_ = asked.one_of("type", _TYPES)
        types = None if type_ is None else (EventType(type_),)
        start, limit = asked.cursor_feed(), asked.limit()
        try:
            page = read(feed.page, caller().id, start, types, limit)
        except feed.CursorAhead:
            refuse("cursor", "is of another database: begin without one")
        shown = [event.envelope() for event in page.events]
        return answer(to_json({"data": shown, "next_cursor": cursor_of_feed(page.next)}))

    return blueprint

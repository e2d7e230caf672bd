"""The routes of callback endpoints and of what was sent to them."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response

from api import schemas
from api.access import allowed_to, caller
from api.answers import answer, to_json
from api.callback_bodies import EVERY_TYPE, CallbackEndpointChange, NewCallbackEndpoint, body_as
from api.openapi import PAGING, described, query
from api.problems import Problem
from api.queries import Query, cursor_of, cursor_of_delivery
from api.reading import Reading
from config.settings import Settings
from domain.fields import timestamp_text
from domain.signatures import secret_text
from storage import deliveries, endpoints
from storage.endpoints import Endpoint, TooManyEndpoints
from storage.secrets import SecretKeys, make_secret

SCOPE: Final = "callbacks"

_STATUSES: Final = ("pending", "delivered", "exhausted")

_STATUS: Final = query(
    "status", {"type": "string", "enum": list(_STATUSES)}, "Only deliveries that stand so."
)

_LOCATION: Final = {
    "Location": {
        "description": "Where the endpoint is.",
        "schema": {"type": "string"},
        "required": True,
    }
}

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes work with."""

    read: Reading
    keys: SecretKeys | None
    allow_loopback: bool

    @classmethod
    def of(cls, read: Reading, settings: Settings) -> Self:
        """The desk that the settings describe."""
        given = settings.secret_keys
        keys = None if given is None else SecretKeys.from_setting(given.get_secret_value())
        return cls(read, keys, settings.callback_allow_loopback)

    def secret_keys(self) -> SecretKeys:
        """What to encrypt secrets with. Raises: Problem 503 if this process was given nothing."""
        if self.keys is None:
            _LOG.error("callback endpoints need TEKANA_SECRET_KEYS, which is not set")
            raise Problem("temporarily_unavailable", "Callbacks are not set up on this server.")
        return self.keys


def routes(desk: Desk) -> APIBlueprint:
    """The routes, working on one desk."""
    blueprint = APIBlueprint("callback_endpoints", __name__, url_prefix="/v1", tag="Callbacks")
    _add_and_list(blueprint, desk)
    _look_and_change(blueprint, desk)
    _show_deliveries(blueprint, desk)
    return blueprint


def _add_and_list(blueprint: APIBlueprint, desk: Desk) -> None:
    @blueprint.post("/callback-endpoints")
    @described(
        blueprint,
        {201: "The endpoint, with its secret: it is not shown again."},
        schema=schemas.CallbackEndpointWithSecret,
        problems=(400, 409, 413, 415, 422),
        body=NewCallbackEndpoint.__name__,
        headers=_LOCATION,
    )
    @allowed_to(SCOPE)
    def add_endpoint() -> Response:
        """Have outcomes sent to an address of yours."""
        asked = body_as(NewCallbackEndpoint, allow_loopback=desk.allow_loopback)
        keys, endpoint_id, secret = desk.secret_keys(), str(uuid.uuid4()), make_secret()
        sealed = keys.encrypt(secret, endpoint_id)
        named = caller().id, endpoint_id, asked.url, asked.events or EVERY_TYPE, sealed
        try:
            added = desk.read.write(endpoints.create, *named)
        except TooManyEndpoints:
            raise Problem("too_many_endpoints") from None
        location = f"/v1/callback-endpoints/{added.id}"
        return answer(_with_secret(added, secret), 201, {"Location": location})

    @blueprint.get("/callback-endpoints")
    @described(
        blueprint,
        {200: "A page of endpoints, by id."},
        schema=schemas.CallbackEndpointPage,
        problems=(422,),
        parameters=PAGING,
    )
    @allowed_to(SCOPE)
    def list_endpoints() -> Response:
        """List your endpoints."""
        asked = Query("limit", "cursor")
        limit = asked.limit()
        found = desk.read(endpoints.list_own, caller().id, limit + 1, asked.cursor_id())
        more = cursor_of("i", found[limit - 1].id) if len(found) > limit else None
        return _page([_view(each) for each in found[:limit]], more)


def _look_and_change(blueprint: APIBlueprint, desk: Desk) -> None:
    @blueprint.get("/callback-endpoints/<uuid:id>")
    @described(
        blueprint,
        {200: "The endpoint."},
        schema=schemas.CallbackEndpoint,
        problems=(404, 422),
    )
    @allowed_to(SCOPE)
    def endpoint(id: UUID) -> Response:  # noqa: A002  # The contract calls it so.
        """Read one of your endpoints."""
        Query()
        found = desk.read(endpoints.find, caller().id, str(id))
        return answer(to_json(_view(_known(found))))

    @blueprint.patch("/callback-endpoints/<uuid:id>")
    @described(
        blueprint,
        {200: "The endpoint as it is now."},
        schema=schemas.CallbackEndpoint,
        problems=(400, 404, 413, 415, 422),
        body=CallbackEndpointChange.__name__,
    )
    @allowed_to(SCOPE)
    def change_endpoint(id: UUID) -> Response:  # noqa: A002
        """Change an endpoint's URL or events, disable it, or enable it again."""
        asked = body_as(CallbackEndpointChange, allow_loopback=desk.allow_loopback)
        changed = desk.read.write(
            endpoints.change,
            *(caller().id, str(id)),
            url=asked.url,
            events=asked.events,
            enabled=asked.enabled,
        )
        return answer(to_json(_view(_known(changed))))

    @blueprint.delete("/callback-endpoints/<uuid:id>")
    @described(blueprint, {204: "It is gone."}, problems=(404,))
    @allowed_to(SCOPE)
    def delete_endpoint(id: UUID) -> Response:  # noqa: A002
        """Delete an endpoint: nothing is sent to it any more, and its secret is erased."""
        if not desk.read.write(endpoints.delete, caller().id, str(id)):
            raise Problem("not_found")
        gone = Response(status=204)
        del gone.headers["Content-Type"]  # There is no content.
        return gone

    @blueprint.post("/callback-endpoints/<uuid:id>/rotate-secret")
    @described(
        blueprint,
        {200: "The endpoint, with its new secret: it is not shown again."},
        schema=schemas.CallbackEndpointWithSecret,
        problems=(404,),
    )
    @allowed_to(SCOPE)
    def rotate_secret(id: UUID) -> Response:  # noqa: A002
        """Replace an endpoint's secret. For 24 hours both sign."""
        keys, secret = desk.secret_keys(), make_secret()
        sealed = keys.encrypt(secret, str(id))
        rotated = desk.read.write(endpoints.rotate_secret, caller().id, str(id), sealed)
        return answer(_with_secret(_known(rotated), secret))


def _show_deliveries(blueprint: APIBlueprint, desk: Desk) -> None:
    @blueprint.get("/callback-endpoints/<uuid:id>/deliveries")
    @described(
        blueprint,
        {200: "A page of deliveries, the newest event first."},
        schema=schemas.DeliveryPage,
        problems=(404, 422),
        parameters=[*PAGING, _STATUS],
    )
    @allowed_to(SCOPE)
    def list_deliveries(id: UUID) -> Response:  # noqa: A002
        """List what was sent to an endpoint in the last 30 days, and what came of it."""
        asked = Query("limit", "cursor", "status")
        limit, named = asked.limit(), (caller().id, str(id))
        where = {"before": asked.cursor_delivery(), "status": asked.one_of("status", _STATUSES)}
        found = desk.read(deliveries.list_deliveries, *named, limit + 1, **where)
        if found is None:
            raise Problem("not_found")
        more = cursor_of_delivery(*found[limit - 1].place) if len(found) > limit else None
        return _page([each.view() for each in found[:limit]], more)

    @blueprint.post("/callback-endpoints/<uuid:id>/deliveries/<uuid:delivery_id>/redeliver")
    @described(
        blueprint,
        {202: "The delivery, which is pending again."},
        schema=schemas.Delivery,
        problems=(404,),
    )
    @allowed_to(SCOPE)
    def redeliver(id: UUID, delivery_id: UUID) -> Response:  # noqa: A002
        """Have an event sent to an endpoint again, at once and as often as a new one."""
        named = caller().id, str(id), str(delivery_id)
        again = desk.read.write(deliveries.redeliver, *named)
        if again is None:
            raise Problem("not_found")
        return answer(to_json(again.view()), 202)


def _known(found: Endpoint | None) -> Endpoint:
    if found is None:
        raise Problem("not_found")
    return found


def _page(shown: Sequence[Mapping[str, Any]], more: str | None) -> Response:
    return answer(to_json({"data": shown, "next_cursor": more}))


def _with_secret(endpoint: Endpoint, secret: bytes) -> bytes:
    return to_json({**_view(endpoint), "secret": secret_text(secret)})


def _view(endpoint: Endpoint) -> dict[str, Any]:
    failing_since, disabled_at = endpoint.failing_since, endpoint.disabled_at
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.events,
        "enabled": endpoint.enabled,
        "failing_since": None if failing_since is None else timestamp_text(failing_since),
        "disabled_at": None if disabled_at is None else timestamp_text(disabled_at),
        "disabled_reason": endpoint.disabled_reason,
        "created_at": timestamp_text(endpoint.created_at),
    }

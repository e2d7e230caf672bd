"""Who may call what. A view that does not say is not served at all."""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from flask import Flask, current_app, g, request

from api.keys import Keys
from api.problems import Problem
from storage.clients import Client

PUBLIC: Final = "public"
"""For everybody, without a key."""

ANY_KEY: Final = "any key"
"""For every valid key; the view itself looks at scopes, or shows only the client's own."""

_V = TypeVar("_V", bound=Callable[..., Any])

_ATTRIBUTE: Final = "tekana_access"


def allowed_to(access: str) -> Callable[[_V], _V]:
    """Say who may call a view: PUBLIC, ANY_KEY, or the scope that a key needs."""

    def decorate(view: _V) -> _V:
        setattr(view, _ATTRIBUTE, access)
        return view

    return decorate


def access_of(app: Flask, endpoint: str) -> str | None:
    """Who may call a view, if it says."""
    access: str | None = getattr(app.view_functions[endpoint], _ATTRIBUTE, None)
    return access


def guard(app: Flask, keys: Keys) -> None:
    """Check every request before its view runs.

    Raises: LookupError if a view does not say who may call it.
    """
    silent = sorted(set(_undeclared(app)))
    if silent:
        raise LookupError(f"these views do not say who may call them: {', '.join(silent)}")

    @app.before_request
    def check() -> None:
        # Unknown addresses and methods go on to their own problems; OPTIONS tells nothing.
        if request.endpoint is None or request.method == "OPTIONS":
            return
        access = access_of(current_app, request.endpoint)
        if access == PUBLIC:
            return
        g.client = client = keys.client_of(request.headers.get("Authorization"))
        if access not in (ANY_KEY, *client.scopes):
            raise Problem("forbidden")


def caller() -> Client:
    """The client whose key came with the request in hand."""
    client: Client = g.client
    return client


def _undeclared(app: Flask) -> Iterator[str]:
    return (
        rule.endpoint for rule in app.url_map.iter_rules() if access_of(app, rule.endpoint) is None
    )

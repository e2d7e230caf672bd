"""The routes that read customers, wallets and entries."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response

from api import schemas
from api.access import allowed_to, caller
from api.answers import answer, to_json
from api.openapi import PAGING, described, query
from api.problems import Problem
from api.queries import SEQ_MAX, Query, cursor_of, refuse
from api.reading import Reading
from storage import reads

_AFTER_SEQ: Final = query(
    "after_seq",
    {"type": "integer", "minimum": 0, "maximum": SEQ_MAX},
    "Entries after this one, oldest first.",
)

_LEGACY_ID: Final = query(
    "legacy_id",
    {"type": "string", "minLength": 1, "maxLength": 100},
    "The customer's id somewhere else.",
    required=True,
)


def routes(read: Reading) -> APIBlueprint:
    """The routes, reading from one Postgres."""
    blueprint = APIBlueprint("accounts", __name__, url_prefix="/v1", tag="Customers and wallets")

    @blueprint.get("/customers/<uuid:id>")
    @described(blueprint, {200: "The customer."}, schema=schemas.Customer, problems=(404, 422))
    @allowed_to("customers:read")
    def customer(id: UUID) -> Response:  # noqa: A002  # The contract calls it so.
        """Read a customer that you opened."""
        Query()
        return _one(read(reads.customer, caller().id, str(id)))

    @blueprint.get("/customers")
    @described(
        blueprint,
        {200: "A page of customers, by id."},
        schema=schemas.CustomerPage,
        problems=(422,),
        parameters=[_LEGACY_ID, *PAGING],
    )
    @allowed_to("customers:read")
    def customers() -> Response:
        """Find customers by the id they have somewhere else."""
        asked = Query("legacy_id", "limit", "cursor")
        limit = asked.limit()
        named = asked.legacy_id(), limit + 1, asked.cursor_id()
        return _page(read(reads.customers_by_legacy_id, caller().id, *named), limit)

    @blueprint.get("/customers/<uuid:id>/wallets")
    @described(
        blueprint,
        {200: "A page of wallets, by id."},
        schema=schemas.WalletPage,
        problems=(404, 422),
        parameters=PAGING,
    )
    @allowed_to("wallets:read")
    def wallets(id: UUID) -> Response:  # noqa: A002
        """List the wallets of a customer that you may read."""
        asked = Query("limit", "cursor")
        limit, client_id, customer_id = asked.limit(), caller().id, str(id)
        named = customer_id, limit + 1, asked.cursor_id()
        found = read(reads.wallets_of_customer, client_id, *named)
        if not found and read(reads.customer, client_id, customer_id) is None:
            raise Problem("not_found")
        return _page(found, limit)

    @blueprint.get("/wallets/<uuid:id>")
    @described(blueprint, {200: "The wallet."}, schema=schemas.Wallet, problems=(404, 422))
    @allowed_to("wallets:read")
    def wallet(id: UUID) -> Response:  # noqa: A002
        """Read a wallet that you opened or were granted."""
        Query()
        return _one(read(reads.wallet, caller().id, str(id)))

    @blueprint.get("/wallets/<uuid:id>/entries")
    @described(
        blueprint,
        {200: "A page of entries: newest first, or with `after_seq` oldest first."},
        schema=schemas.EntryPage,
        problems=(404, 422),
        parameters=[*PAGING, _AFTER_SEQ],
    )
    @allowed_to("wallets:read")
    def entries(id: UUID) -> Response:  # noqa: A002
        """List what changed a wallet's balance."""
        asked = Query("limit", "cursor", "after_seq")
        limit, (direction, seq) = asked.limit(), _start(asked)
        bound = {"after_seq" if direction == ">" else "before_seq": seq}
        found = read(reads.entries, caller().id, str(id), limit + 1, **bound)
        if found is None:
            raise Problem("not_found")
        return _page(found, limit, direction, "seq")

    return blueprint


def _start(asked: Query) -> tuple[str, int | None]:
    """Which way the entries are asked for, and from where. A cursor goes on as it began."""
    cursor = asked.cursor_seq()
    after_seq = asked.number("after_seq", 0, SEQ_MAX)
    if cursor is None:
        return ("<", None) if after_seq is None else (">", after_seq)
    if after_seq is not None and cursor[0] == "<":
        refuse("cursor", "goes the other way")
    return cursor


def _one(view: dict[str, Any] | None) -> Response:
    if view is None:
        raise Problem("not_found")
    return answer(to_json(view))


def _page(found: Sequence[dict[str, Any]], limit: int, kind: str = "i", by: str = "id") -> Response:
    """A page of `limit` things, of which one more was asked for to see whether there is one."""
    shown = found[:limit]
    more = cursor_of(kind, shown[-1][by]) if len(found) > limit else None
    return answer(to_json({"data": shown, "next_cursor": more}))

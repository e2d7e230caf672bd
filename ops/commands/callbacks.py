"""callbacks: where clients are told of outcomes, what was sent there, and sending it again."""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from ops.database import database, operator_settings
from ops.errors import OperatorError
from ops.options import as_json, change

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection, Engine

    from config.settings import Settings
    from storage.deliveries import Delivery
    from storage.endpoints import Endpoint
    from storage.secrets import SecretKeys

_endpoint = click.argument("endpoint_id", metavar="ENDPOINT", type=click.UUID)


class Time(click.ParamType[datetime]):
    """A time as the contract writes them: `2026-11-23T10:00:00Z`."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """The time, in UTC."""
        from pydantic import TypeAdapter, ValidationError

        from domain.fields import Timestamp

        try:
            moment: datetime = TypeAdapter(Timestamp).validate_python(value)
        except ValidationError:
            self.fail(f"{value!r} is not like 2026-11-23T10:00:00Z", param, ctx)
        return moment


@click.group()
def callbacks() -> None:
    """Callback endpoints of clients, and what was sent to them."""


@callbacks.command("list")
@click.option("--client", "client_name", help="Of this client alone.")
@as_json
def list_endpoints(client_name: str | None, as_json: bool) -> None:
    """Show the endpoints, and how it goes with them."""
    from ops.show import show_json, show_table
    from storage import deliveries, endpoints

    with database() as engine:
        found = endpoints.list_all(engine, client_name)
        pending = deliveries.count_pending(engine)
    if as_json:
        show_json([_document(client, each, pending.get(each.id, 0)) for client, each in found])
        return
    rows = [
        (each.id, client, each.url, " ".join(each.events), pending.get(each.id, 0), *_state(each))
        for client, each in found
    ]
    columns = ("id", "client", "url", "events", "pending", "state", "since")
    show_table(columns, rows, empty="There are no endpoints.")


@callbacks.command("deliveries")
@_endpoint
@click.option("--status", type=click.Choice(["pending", "delivered", "exhausted"]))
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@as_json
def list_deliveries(endpoint_id: "UUID", status: str | None, limit: int, as_json: bool) -> None:
    """Show what was sent to an endpoint, the newest event first."""
    from ops.show import show_json, show_table
    from storage import deliveries

    with database() as engine:
        found = deliveries.list_for_operator(engine, str(endpoint_id), limit, status)  # type: ignore[arg-type]
        if not found:
            with engine.connect() as connection:
                _check(connection, endpoint_id)
    if as_json:
        show_json([each.view() for each in found])
        return
    show_table(
        ("event", "type", "at", "status", "attempts", "last", "next"),
        (
            (
                each.event_id,
                each.event_type,
                each.event_at,
                each.status,
                sum("redeliver" not in attempt for attempt in each.attempts),
                _last(each),
                each.next_attempt_at,
            )
            for each in found
        ),
        empty="There are no deliveries.",
    )


@callbacks.command()
@_endpoint
@click.option("--event", "event_id", type=click.UUID, help="One event, by its id.")
@click.option("--since", type=Time(), help="All events since this time.")
@change
def redeliver(
    endpoint_id: "UUID", event_id: "UUID | None", since: datetime | None, who: str, reason: str
) -> None:
    """Have events that were sent to an endpoint sent again, whatever came of it before.

    Only what is in its deliveries: nothing was kept for it while it was disabled.
    """
    from domain.fields import timestamp_text
    from storage import audit

    if (event_id is None) == (since is None):
        raise click.UsageError("Say --event or --since.")
    asked = {"since": timestamp_text(since)} if since else {"event": str(event_id)}
    named = who, "callbacks.redeliver", str(endpoint_id), reason
    count = 0
    with database() as engine:
        with engine.begin() as connection:
            _check(connection, endpoint_id)
            audit.record(connection, *named, **asked)
            if event_id is not None:
                count = _redeliver_one(connection, endpoint_id, event_id)
        if since is not None:
            count = _redeliver_since(engine, endpoint_id, since)
    click.echo(f"{count} {'delivery is' if count == 1 else 'deliveries are'} pending again.")


@callbacks.command("rotate-key")
@change
def rotate_key(who: str, reason: str) -> None:
    """Encrypt every endpoint's secret with the first key of TEKANA_SECRET_KEYS.

    Before: give all processes the new key in front of the old one. After: take the old one
    away. If it is interrupted, run it again.
    """
    from storage import audit, endpoints
    from storage.secrets import SecretUnreadable

    settings = operator_settings()
    keys = _keys(settings)
    total = 0
    with database(settings) as engine:
        while True:
            try:
                with engine.begin() as connection:
                    count = endpoints.encrypt_anew(connection, keys)
                    if count:
                        named = who, "callbacks.rotate-key", keys.current_id, reason
                        audit.record(connection, *named, endpoints=count)
            except SecretUnreadable as error:
                raise OperatorError(
                    f"{total} endpoints are done, but {error}.",
                    "Put its key into TEKANA_SECRET_KEYS, behind the first, and run this again.",
                ) from None
            if not count:
                break
            total += count
    click.echo(f"{total} {'endpoint was' if total == 1 else 'endpoints were'} changed.")
    click.echo(f"Every secret is encrypted with the key {keys.current_id} now.")


def _redeliver_one(connection: "Connection", endpoint_id: "UUID", event_id: "UUID") -> int:
    from storage import deliveries

    if not deliveries.redeliver_as_operator(connection, str(endpoint_id), str(event_id)):
        raise OperatorError(
            f"Event {event_id} is not among the deliveries of this endpoint.",
            f"Find its id with ./tekana callbacks deliveries {endpoint_id}",
        )
    return 1


def _redeliver_since(engine: "Engine", endpoint_id: "UUID", since: datetime) -> int:
    from storage import deliveries

    total, place = 0, since
    while True:
        with engine.begin() as connection:
            count, after = deliveries.redeliver_some_since(connection, str(endpoint_id), place)
        total += count
        if after is None:
            return total
        place = after


def _keys(settings: "Settings") -> "SecretKeys":
    from storage.secrets import SecretKeys

    if settings.secret_keys is None:
        raise OperatorError("There is no key to encrypt with.", "Set TEKANA_SECRET_KEYS.")
    return SecretKeys.from_setting(settings.secret_keys.get_secret_value())


def _check(connection: "Connection", endpoint_id: "UUID") -> None:
    from storage import endpoints

    if not endpoints.exists(connection, str(endpoint_id)):
        raise OperatorError(
            f"There is no endpoint {endpoint_id}.", "Find its id with ./tekana callbacks list"
        )


def _state(endpoint: "Endpoint") -> tuple[str, datetime | None]:
    if not endpoint.enabled:
        return f"disabled: {endpoint.disabled_reason}", endpoint.disabled_at
    if endpoint.failing_since is not None:
        return "failing", endpoint.failing_since
    return "well", None


def _document(client: str, endpoint: "Endpoint", pending: int) -> dict[str, object]:
    from dataclasses import asdict

    return {"client": client, **asdict(endpoint), "pending": pending}


def _last(delivery: "Delivery") -> str:
    """What came of the last attempt."""
    for attempt in reversed(delivery.attempts):
        if "redeliver" not in attempt:
            return str(attempt.get("status") or attempt.get("error"))
    return ""

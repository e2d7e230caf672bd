"""client: who may call, with which keys, and which wallets of others they may use."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from ops.database import database
from ops.errors import OperatorError
from ops.options import Words, as_json, change, login_name

if TYPE_CHECKING:
    from sqlalchemy import Connection

DEVELOPMENT_CLIENT: Final = "development"

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST: Final = timedelta(days=36_500)


class Duration(click.ParamType[timedelta]):
    """A length of time as an operator writes it: `30m`, `12h`, `90d`, `8w`."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """The time, at least a minute and at most a hundred years."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,7})([mhdw])", str(value), re.ASCII)
        if found is None:
            self.fail(f"{value!r} is not like 30m, 12h, 90d or 8w", param, ctx)
        length = timedelta(**{_UNITS[found[2]]: int(found[1])})
        if length > _LONGEST:
            self.fail(f"{value!r} is more than a hundred years", param, ctx)
        return length


class Floor(click.ParamType[tuple[str, int]]):
    """The lowest balance of a settlement account: `KES=-100000`, in minor units."""

    name = "currency=minor units"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Currency and floor."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([A-Z]{3})=(-?[0-9]{1,15})", str(value), re.ASCII)
        if found is None:
            self.fail(f"{value!r} is not like KES=-100000, in minor units", param, ctx)
        return found[1], int(found[2])


@click.group()
def client() -> None:
    """Clients of the API: their scopes, keys and grants."""


@client.command("add")
@click.argument("name", type=Words())
@click.option("--scope", "scopes", multiple=True, help="A right, such as transfers:write.")
@click.option("--all-scopes", is_flag=True, help="Every right there is.")
@click.option(
    "--floor",
    "floors",
    multiple=True,
    type=Floor(),
    help="How far below zero its settlement account may go, such as KES=-100000 (minor "
    "units). Without: no limit.",
)
@change
def add_client(
    name: str,
    scopes: tuple[str, ...],
    all_scopes: bool,
    floors: tuple[tuple[str, int], ...],
    who: str,
    reason: str,
) -> None:
    """Make a client. It can call once it has a key."""
    from storage import clients

    if all_scopes == bool(scopes):
        raise click.UsageError("Give either --scope, as often as needed, or --all-scopes.")
    if len({currency for currency, _ in floors}) != len(floors):
        raise click.UsageError("Give one --floor for a currency.")
    with database() as engine, engine.begin() as connection:
        client_id = clients.add_client(
            connection,
            name,
            clients.SCOPES if all_scopes else scopes,
            who=who,
            reason=reason,
            settlement_floors_minor=dict(floors),
        )
    click.echo(f"Client {name} is made (id {client_id}). It has no key yet:")
    click.echo(f"  ./tekana client key add {name} --reason …")


@client.command("list")
@as_json
def list_clients(as_json: bool) -> None:
    """Show every client, with the balances of its settlement accounts."""
    from ops.show import money_text, show_json, show_table
    from storage import clients

    with database() as engine:
        found = clients.list_clients(engine)
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "name", "scopes", "made", "settlement"),
        (
            (
                each.id,
                each.name,
                _scopes_text(each.scopes),
                each.created_at,
                "\n".join(money_text(minor, code) for code, minor in each.settlement.items()),
            )
            for each in found
        ),
        empty="There are no clients.",
    )


@client.command()
@click.argument("name", type=Words())
@click.argument("wallet", type=click.UUID)
@change
def grant(name: str, wallet: uuid.UUID, who: str, reason: str) -> None:
    """Let a client read and debit a WALLET that another client opened."""
    from storage import clients

    with database() as engine, engine.begin() as connection:
        clients.grant(connection, name, str(wallet), who=who, reason=reason)
    click.echo(f"Client {name} may now read and debit wallet {wallet}.")


@client.group()
def key() -> None:
    """API keys. Only a hash of a key is kept: it can be shown once."""


@key.command("add")
@click.argument("name", type=Words())
@click.option(
    "--scope", "scopes", multiple=True, help="A right of this key. Without: all of the client's."
)
@click.option("--expires-in", type=Duration(), help="How long it is valid, such as 90d.")
@click.option("--test", "is_test", is_flag=True, help="Begin it with tekana_test_.")
@change
def add_key(
    name: str,
    scopes: tuple[str, ...],
    expires_in: timedelta | None,
    is_test: bool,
    who: str,
    reason: str,
) -> None:
    """Make a key for a client and print it, once."""
    from storage import clients

    expires_at = None if expires_in is None else datetime.now(UTC) + expires_in
    with database() as engine, engine.begin() as connection:
        made = clients.add_key(
            connection,
            name,
            kind="test" if is_test else "live",
            who=who,
            reason=reason,
            scopes=scopes or None,
            expires_at=expires_at,
        )
    # The key alone goes to standard output, so that a script can catch it.
    click.echo("This key is shown only now:", err=True)
    click.echo(made)


@key.command("list")
@click.argument("name", type=Words(), required=False)
@as_json
def list_keys(name: str | None, as_json: bool) -> None:
    """Show the keys of one client or of all, never the keys themselves."""
    from ops.show import show_json, show_table
    from storage import clients

    with database() as engine:
        found = clients.list_keys(engine, name)
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "client", "begins with", "scopes", "made", "state"),
        (
            (
                each.id,
                each.client,
                f"{each.hint}…",
                _scopes_text(each.scopes),
                each.created_at,
                _key_state(each.revoked_at, each.expires_at),
            )
            for each in found
        ),
        empty="There are no keys.",
    )


@key.command("revoke")
@click.argument("key_id", metavar="ID", type=click.IntRange(1, 2**31 - 1))
@change
def revoke_key(key_id: int, who: str, reason: str) -> None:
    """End the key with this ID (from `client key list`)."""
    from ops.database import operator_settings
    from storage import clients

    settings = operator_settings()
    with database(settings) as engine, engine.begin() as connection:
        try:
            clients.revoke_key(connection, key_id, who=who, reason=reason)
        except clients.ProvisioningError as error:
            raise OperatorError(
                f"{str(error).capitalize()}.", "Find its id with ./tekana client key list"
            ) from None
    click.echo(
        f"Key {key_id} is revoked. An API process refuses it {settings.api_key_cache_s:g} s from "
        "now at the latest (TEKANA_API_KEY_CACHE_S)."
    )


def ensure_development_key(connection: "Connection") -> str:
    """A fresh test key of the client `development`, which is made if it is missing."""
    from storage import clients

    who, reason = login_name(), "development stack"
    try:
        clients.client_id_of(connection, DEVELOPMENT_CLIENT)
    except clients.ProvisioningError:
        clients.add_client(connection, DEVELOPMENT_CLIENT, clients.SCOPES, who=who, reason=reason)
    return clients.add_key(connection, DEVELOPMENT_CLIENT, kind="test", who=who, reason=reason)


def _scopes_text(scopes: list[str]) -> str:
    from storage.clients import SCOPES

    return "all" if set(scopes) >= SCOPES else "\n".join(scopes)


def _key_state(revoked_at: datetime | None, expires_at: datetime | None) -> str:
    from ops.show import time_text

    if revoked_at is not None:
        return f"revoked {time_text(revoked_at)}"
    if expires_at is None:
        return "valid"
    verb = "expired" if expires_at <= datetime.now(UTC) else "valid until"
    return f"{verb} {time_text(expires_at)}"

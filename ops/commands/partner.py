"""partner: who may publish instructions to an inbox of their own, and read an outbox."""

import uuid
from typing import TYPE_CHECKING, Final

import click

from ops.commands.clients import Floor
from ops.database import database, operator_settings
from ops.options import Words, as_json, change

if TYPE_CHECKING:
    from config.settings import Settings
    from ops.partners import Issued
    from ops.queues import Depth
    from storage.partners import PartnerSummary

_RATE_MOST: Final = 100_000

_name = click.argument("name", type=Words())
_test = click.option("--test", "is_test", is_flag=True, help="Begin the key with tekana_test_.")


@click.group()
def partner() -> None:
    """Partners: clients that publish to queues of their own, without HTTP."""


@partner.command("add")
@_name
@click.option("--scope", "scopes", multiple=True, help="A right, such as deposits:write.")
@click.option(
    "--grant",
    "grants",
    multiple=True,
    type=click.UUID,
    help="A wallet of another client that it may read and debit.",
)
@click.option(
    "--floor",
    "floors",
    multiple=True,
    type=Floor(),
    help="How far below zero its settlement account may go, such as KES=-100000 (minor "
    "units). Without: no limit.",
)
@click.option(
    "--rate",
    "rate_per_s",
    type=click.IntRange(1, _RATE_MOST),
    help="Messages per second that are taken from its inbox; others wait. Without: 1,000.",
)
@_test
@as_json
@change
def add_partner(
    name: str,
    scopes: tuple[str, ...],
    grants: tuple[uuid.UUID, ...],
    floors: tuple[tuple[str, int], ...],
    rate_per_s: int | None,
    is_test: bool,
    as_json: bool,
    who: str,
    reason: str,
) -> None:
    """Make a client a partner, with a user of the broker, an inbox and an outbox.

    The client is made if there is none of this NAME. Run it again if it was cut off: it
    completes what is missing, and changes nothing that is there.
    """
    from ops.partners import Asked, Provisioning

    if len({currency for currency, _ in floors}) != len(floors):
        raise click.UsageError("Give one --floor for a currency.")
    settings = operator_settings()
    asked = Asked(
        name,
        scopes=scopes,
        grants=list(map(str, grants)),
        floors_minor=dict(floors),
        rate_per_s=rate_per_s,
        key_kind="test" if is_test else "live",
    )
    with database(settings) as engine:
        issued = Provisioning(settings, engine).add(asked, who=who, reason=reason)
    if not as_json:
        click.echo(
            f"Partner {name} may publish to exchange in.{name} and read queue out.{name}.", err=True
        )
    _show_issued(name, issued, as_json)
    for what, secret, option in (
        ("a password", issued.broker_url, "--password"),
        ("an API key", issued.api_key, "--api-key"),
    ):
        if secret is None:
            click.echo(
                f"It has {what} already, which can't be shown again. For another: "
                f"./tekana partner rotate {name} {option} --reason …",
                err=True,
            )


@partner.command("list")
@as_json
def list_partners(as_json: bool) -> None:
    """Show every partner with what waits for it and from it."""
    from ops.show import show_json, show_table
    from storage import partners

    settings = operator_settings()
    with database(settings) as engine:
        found = partners.summaries(engine)
    depths = _depths(settings, found)
    if as_json:
        show_json([_view(each, depths) for each in found])
        return
    show_table(
        ("name", "scopes", "rate", "in inbox", "in outbox", "made", "state"),
        (
            (
                each.name,
                "\n".join(each.scopes),
                f"{each.rate_per_s:,}/s",
                _waiting(depths, f"in.{each.name}"),
                _waiting(depths, f"out.{each.name}"),
                each.created_at,
                _state(each),
            )
            for each in found
        ),
        empty="There are no partners.",
    )


@partner.command()
@_name
@as_json
def show(name: str, as_json: bool) -> None:
    """Show one partner: its queues, its API keys, what it was granted."""
    from ops.show import show_json, show_table
    from storage import clients, partners

    settings = operator_settings()
    with database(settings) as engine:
        with engine.connect() as connection:
            found = partners.summary(connection, name)
            granted = partners.granted(connection, found.client_id)
        keys = clients.list_keys(engine, name)
    view = _view(found, _depths(settings, [found])) | {
        "grants": granted,
        "keys": [each.id for each in keys if each.revoked_at is None],
    }
    if as_json:
        show_json(view)
        return
    show_table(
        ("field", "value"),
        (
            (key, "\n".join(map(str, value)) if isinstance(value, list) else value)
            for key, value in view.items()
        ),
        empty="",
    )


@partner.command()
@_name
@click.option("--password", is_flag=True, help="A new password of the broker. The old one ends.")
@click.option("--api-key", is_flag=True, help="Another API key. The others go on.")
@click.option(
    "--disconnect", is_flag=True, help="Also close the connections that the old password opened."
)
@_test
@as_json
@change
def rotate(
    name: str,
    password: bool,
    api_key: bool,
    disconnect: bool,
    is_test: bool,
    as_json: bool,
    who: str,
    reason: str,
) -> None:
    """Make new secrets of a partner and print them, once."""
    from ops.partners import Provisioning

    if not (password or api_key):
        raise click.UsageError("Give --password, --api-key or both.")
    if disconnect and not password:
        raise click.UsageError("--disconnect goes with --password.")
    settings = operator_settings()
    with database(settings) as engine:
        provisioning = Provisioning(settings, engine)
        issued = provisioning.rotate(
            name,
            password=password,
            api_key=api_key,
            key_kind="test" if is_test else "live",
            who=who,
            reason=reason,
        )
        _show_issued(name, issued, as_json)
        if disconnect:
            provisioning.disconnect(name)
    if api_key:
        click.echo(
            f"Older keys go on until they are revoked: ./tekana client key list {name}", err=True
        )


@partner.command()
@_name
@click.argument("rate_per_s", metavar="N", type=click.IntRange(1, _RATE_MOST))
@change
def rate(name: str, rate_per_s: int, who: str, reason: str) -> None:
    """Take N messages a second from a partner's inbox; others wait there."""
    from storage import partners

    with database() as engine, engine.begin() as connection:
        partners.set_rate(connection, name, rate_per_s, who=who, reason=reason)
    click.echo(f"From the inbox of {name}, {rate_per_s:,} messages a second are taken.")


@partner.command()
@_name
@change
def suspend(name: str, who: str, reason: str) -> None:
    """Refuse all that a partner sends from now on. It is told the reason."""
    from storage import partners

    with database() as engine, engine.begin() as connection:
        partners.suspend(connection, name, who=who, reason=reason)
    click.echo(
        f"Partner {name} is suspended: within about a second, each of its messages is refused, and "
        "the refusal tells your reason. It goes on getting events. Its API keys are not suspended."
    )
    click.echo(f"Let it go on: ./tekana partner resume {name} --reason …")


@partner.command()
@_name
@change
def resume(name: str, who: str, reason: str) -> None:
    """Accept again what a suspended partner sends."""
    from storage import partners

    with database() as engine, engine.begin() as connection:
        partners.resume(connection, name, who=who, reason=reason)
    click.echo(f"Partner {name} is no longer suspended. What was refused, it must send again.")


@partner.command()
@_name
@click.option("--force", is_flag=True, help="Throw away what waits in its inbox.")
@change
def remove(name: str, force: bool, who: str, reason: str) -> None:
    """End a partner: its user of the broker, its connections and both its queues.

    What waits in its inbox is decided first. Events that it has not read are at /v1/events for
    30 days. The client and its API keys stay, as all that it did stays in the books.
    """
    from ops.partners import Provisioning

    settings = operator_settings()
    with database(settings) as engine:
        lost = Provisioning(settings, engine).remove(name, force=force, who=who, reason=reason)
    click.echo(
        f"Partner {name} is removed." + (f" {lost} messages were thrown away." if lost else "")
    )
    click.echo(f"Its client stays. To end its API keys: ./tekana client key list {name}")


def _show_issued(name: str, issued: "Issued", as_json: bool) -> None:
    from ops.show import show_json

    if as_json:
        show_json(
            {
                "name": name,
                "exchange": f"in.{name}",
                "queue": f"out.{name}",
                "broker_url": issued.broker_url,
                "api_key": issued.api_key,
            }
        )
        return
    made = {"broker_url": issued.broker_url, "api_key": issued.api_key}
    shown = {key: value for key, value in made.items() if value is not None}
    if shown:
        # These alone go to standard output, so that a script can catch them.
        click.echo("This is shown only now:", err=True)
    for key, value in shown.items():
        click.echo(f"{key} {value}")


def _depths(settings: "Settings", found: "list[PartnerSummary]") -> "dict[str, Depth] | None":
    """By queue; None if the broker does not answer, which the operator is told."""
    from ops.queues import BrokerAway, depths_of

    names = [f"{box}.{each.name}" for each in found if not each.removed_at for box in ("in", "out")]
    try:
        return depths_of(settings.broker_url.get_secret_value(), names) if names else {}
    except BrokerAway as error:
        click.echo(f"The broker does not answer, so what waits is unknown. ({error})", err=True)
        return None


def _waiting(depths: "dict[str, Depth] | None", queue: str) -> object:
    if depths is None:
        return "?"
    return depths[queue].messages if queue in depths else ""


def _state(each: "PartnerSummary") -> str:
    from ops.show import time_text

    if each.removed_at is not None:
        return f"removed {time_text(each.removed_at)}"
    if each.suspended_at is not None:
        return f"suspended {time_text(each.suspended_at)}: {each.suspended_reason}"
    return "active"


def _view(each: "PartnerSummary", depths: "dict[str, Depth] | None") -> dict[str, object]:
    depth = (depths or {}).get
    inbox, outbox = depth(f"in.{each.name}"), depth(f"out.{each.name}")
    return {
        "name": each.name,
        "client_id": each.client_id,
        "scopes": each.scopes,
        "rate_per_s": each.rate_per_s,
        "inbox": None if inbox is None else inbox.messages,
        "inbox_consumers": None if inbox is None else inbox.consumers,
        "outbox": None if outbox is None else outbox.messages,
        "created_at": each.created_at,
        "suspended_at": each.suspended_at,
        "suspended_reason": each.suspended_reason,
        "removed_at": each.removed_at,
    }

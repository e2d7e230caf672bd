"""partition: look at the partitions, hold one, let it go on."""

from typing import TYPE_CHECKING, Final

import click

from ops.database import database, operator_settings
from ops.errors import OperatorError
from ops.options import as_json, change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.settings import Settings
    from ops.queues import Depth
    from storage.partitions import PartitionState

_HELD: Final = (
    "The partition is held in the ledger: the active worker and any standby both close their "
    "queue and wait. Nothing is lost, messages stay in the queue in order."
)

_number = click.argument("number", metavar="N", type=click.IntRange(0, 1023))


@click.group()
def partition() -> None:
    """Partitions: each is one queue, decided in order by one worker at a time."""


@partition.command("list")
@as_json
def list_partitions(as_json: bool) -> None:
    """Show how far each partition is, what waits in its queue, and who paused it."""
    from ops.show import show_json, show_table
    from storage import partitions

    settings = operator_settings()
    with database(settings) as engine:
        states = partitions.states(engine)
    depths = _depths(settings, states)
    if as_json:
        show_json([_view(state, depths) for state in states])
        return
    show_table(
        ("partition", "decided", "waiting", "consumers", "state"),
        (_row(state, depths) for state in states),
        empty="The database has no partitions: run ./tekana migrate",
    )


@partition.command()
@_number
@change
def pause(number: int, who: str, reason: str) -> None:
    """Stop deciding partition N, on whichever worker has it."""
    from storage import partitions

    with database() as engine:
        try:
            changed = partitions.pause(engine, number, who, reason)
        except partitions.NoSuchPartition:
            raise _unknown(number, partitions.states(engine)) from None
    if not changed:
        raise OperatorError(
            f"Partition {number} is paused already.", "See who did it: ./tekana partition list"
        )
    click.echo(f"Partition {number} is paused. {_HELD}")
    click.echo(f"Let it go on: ./tekana partition resume {number} --reason …")


@partition.command()
@_number
@change
def resume(number: int, who: str, reason: str) -> None:
    """Let partition N go on after a pause."""
    from storage import partitions

    with database() as engine:
        try:
            changed = partitions.resume(engine, number, who, reason)
        except partitions.NoSuchPartition:
            raise _unknown(number, partitions.states(engine)) from None
    if not changed:
        raise OperatorError(f"Partition {number} is not paused. Nothing was changed.")
    click.echo(
        f"Partition {number} is no longer held in the ledger. Its workers notice within about a "
        "second and open their queue again; the messages that waited are decided in their order."
    )


def _depths(settings: "Settings", states: "Sequence[PartitionState]") -> "dict[int, Depth]":
    from ops.queues import BrokerAway, depths

    try:
        return depths(settings.broker_url.get_secret_value(), [state.id for state in states])
    except BrokerAway as error:
        click.echo(f"The broker does not answer, so what waits is unknown. ({error})", err=True)
        return {}


def _row(state: "PartitionState", depths: "dict[int, Depth]") -> tuple[object, ...]:
    from ops.show import time_text

    depth = depths.get(state.id)
    waiting, consumers = ("?", "?") if depth is None else (depth.messages, depth.consumers)
    paused = ""
    if state.paused_at is not None:
        since = time_text(state.paused_at)
        paused = f"paused {since} by {state.pause_who}: {state.pause_reason}"
    return state.id, state.position, waiting, consumers, paused


def _view(state: "PartitionState", depths: "dict[int, Depth]") -> dict[str, object]:
    depth = depths.get(state.id)
    return {
        "partition": state.id,
        "decided": state.position,
        "waiting": None if depth is None else depth.messages,
        "consumers": None if depth is None else depth.consumers,
        "paused_at": state.paused_at,
        "paused_by": state.pause_who,
        "pause_reason": state.pause_reason,
    }


def _unknown(number: int, states: "Sequence[PartitionState]") -> OperatorError:
    return OperatorError(
        f"There is no partition {number}.", f"There are partitions 0 to {len(states) - 1}."
    )

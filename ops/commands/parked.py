"""parked: messages that could not be decided; an operator has them decided, or rejects them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import click

from ops.database import database, operator_settings
from ops.errors import OperatorError
from ops.options import as_json, change

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from config.settings import Settings
    from domain.instructions import Instruction
    from producers.messages import Unconfirmed
    from storage.parked import Parked, Resolution

_id = click.argument("parked_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))


@click.group()
def parked() -> None:
    """Messages that could not be decided and wait for an operator."""


@parked.command("list")
@as_json
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000))
def list_parked(as_json: bool, limit: int) -> None:
    """Show what waits, oldest first."""
    from ops.show import show_json, show_table
    from storage import parked as store

    with database() as engine:
        waiting = store.list_unresolved(engine, limit)
        count = store.count_unresolved(engine)
    if as_json:
        show_json(waiting)
        return
    show_table(
        ("id", "parked", "partition", "instruction", "reason"),
        ((m.id, m.parked_at, m.partition, m.instruction_id, m.reason) for m in waiting),
        empty="Nothing is parked.",
    )
    if count > len(waiting):
        click.echo(f"{count - len(waiting)} more wait: see them with --limit {count}")


@parked.command()
@_id
@as_json
def show(parked_id: int, as_json: bool) -> None:
    """Show one message with its bytes, which may hold personal data."""
    from ops.show import show_json, show_table

    with database() as engine:
        message = _found(engine, parked_id)
    if as_json:
        show_json(message)
        return
    resolution = message.resolution or "waits for an operator"
    body = message.body.decode(errors="backslashreplace")
    rows: list[tuple[str, object]] = [
        ("id", message.id),
        ("parked", message.parked_at),
        ("partition", message.partition),
        ("instruction", message.instruction_id or "none: the message is no instruction"),
        ("reason", message.reason),
        ("resolution", resolution),
        ("resolved", message.resolved_at),
        ("headers", "\n".join(f"{name}: {value}" for name, value in message.headers.items())),
        ("body", body),
    ]
    show_table(("", ""), (row for row in rows if row[1] not in (None, "")), empty="")


@parked.command()
@_id
@change
def retry(parked_id: int, who: str, reason: str) -> None:
    """Publish a message again, to the partition where it belongs.

    It is decided after what is in that partition's queue now: its old place is lost.
    """

    settings = operator_settings()
    with database(settings) as engine:
        message = _waiting(engine, parked_id)
        instruction = _instruction_in(message)
        if instruction is None:
            raise OperatorError(
                f"Message {parked_id} cannot be retried: it is no instruction "
                f"({_reason(message)}).",
                f"Discard it: ./tekana parked reject {parked_id} --reason …",
            )
        count = _partition_count(engine)
        # The mark is written first and committed last. If a worker parks the same bytes again
        # meanwhile, it waits for the mark; it would be lost if the old row seemed to stand.
        with engine.begin() as connection:
            _resolve(connection, parked_id, "retried", who, reason)
            refusal = _published(settings, instruction, count)
            if refusal is not None:
                raise OperatorError(
                    f"The broker did not confirm the message ({refusal}); it stays parked.",
                    "Retry it once the broker is well: a second copy changes nothing.",
                )
    click.echo(f"Message {parked_id} is in the queue again, as instruction {instruction.id}.")
    click.echo("If it cannot be decided again, it is parked under a new number.")


@parked.command()
@_id
@change
def reject(parked_id: int, who: str, reason: str) -> None:
    """Give a message's instruction the outcome `operator_rejected`, for ever.

    A message that is no instruction of a client has nobody who waits for an outcome: it is
    discarded.
    """
    with database() as engine:
        message = _waiting(engine, parked_id)
        instruction = _instruction_in(message)
        if instruction is None or not _has_client(engine, instruction):
            with engine.begin() as connection:
                _resolve(connection, parked_id, "discarded", who, reason)
            click.echo(
                f"Message {parked_id} is discarded: it is no instruction of any client. Its bytes "
                "are kept."
            )
            return
        click.echo(_reject(engine, instruction, parked_id, who, reason))


def _reason(message: "Parked") -> str:
    """Why it was parked, fit for a terminal."""
    from ops.show import printable

    return printable(message.reason)


def _reject(
    engine: "Engine", instruction: "Instruction", parked_id: int, who: str, reason: str
) -> str:
    """Reject and resolve in one transaction; returns what to tell the operator."""
    from domain.books import Answer
    from storage.ledger import Ledger

    def resolve(connection: "Connection") -> None:
        _resolve(connection, parked_id, "rejected", who, reason)

    ledger = Ledger(engine, _partition_count(engine))
    decided = ledger.reject(instruction, lambda: datetime.now(UTC), resolve)
    decision = decided.posting.decisions[0]
    if decision.answer is Answer.DECIDED:
        return f"Instruction {instruction.id} is rejected: operator_rejected."
    return (
        f"Instruction {instruction.id} had an outcome before ({decision.outcome.status}), which "
        f"stands. Message {parked_id} is marked rejected; no money moved."
    )


def _published(
    settings: "Settings", instruction: "Instruction", count: int
) -> "Unconfirmed | None":
    from producers.instructions import publish_all
    from producers.publisher import Publisher
    from producers.topology import declaring

    publisher = Publisher(
        settings.broker_url.get_secret_value(),
        name="operator",
        confirm_timeout_s=settings.confirm_timeout_s,
        declare=declaring(count),
    )
    try:
        return publish_all(publisher, [instruction], count)[0]
    finally:
        publisher.close()


def _instruction_in(message: "Parked") -> "Instruction | None":
    from domain.instructions import Undecodable, decode

    try:
        return decode(message.body)
    except Undecodable:
        return None


def _has_client(engine: "Engine", instruction: "Instruction") -> bool:
    from storage.clients import list_clients

    return any(client.id == instruction.client_id for client in list_clients(engine))


def _partition_count(engine: "Engine") -> int:
    """As the database was made: what the settings say may be wrong."""
    from storage.partitions import states

    return len(states(engine))


def _found(engine: "Engine", parked_id: int) -> "Parked":
    from storage.parked import NotParked, find

    try:
        return find(engine, parked_id)
    except NotParked:
        raise OperatorError(
            f"There is no parked message {parked_id}.", "Find its id with ./tekana parked list"
        ) from None


def _waiting(engine: "Engine", parked_id: int) -> "Parked":
    message = _found(engine, parked_id)
    if message.resolution is not None:
        _refuse_resolved(parked_id, message.resolution)
    return message


def _resolve(
    connection: "Connection", parked_id: int, resolution: "Resolution", who: str, reason: str
) -> None:
    from storage import parked as store

    try:
        store.resolve(connection, parked_id, resolution, who=who, reason=reason)
    except store.NotParked:
        _refuse_resolved(parked_id, "resolved by somebody else, just now")


def _refuse_resolved(parked_id: int, how: str) -> NoReturn:
    raise OperatorError(
        f"Message {parked_id} does not wait any more: {how}.", "See ./tekana parked list"
    )

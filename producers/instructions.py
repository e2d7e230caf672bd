"""Instructions as messages: each to the partition that decides it."""

from collections.abc import Sequence

from config.broker import LEDGER_EXCHANGE
from domain.identity import partition_of
from domain.instructions import Instruction, encode
from producers.messages import Outgoing, Unconfirmed
from producers.publisher import Publisher


def outgoing(instruction: Instruction, partitions: int, body: bytes | None = None) -> Outgoing:
    """The message of one instruction; `body` spares the encoding if it has been done."""
    return Outgoing(
        exchange=LEDGER_EXCHANGE,
        routing_key=str(partition_of(instruction.partition_key, partitions)),
        body=encode(instruction) if body is None else body,
        message_id=instruction.id,
    )


def publish_all(
    publisher: Publisher,
    instructions: Sequence[Instruction],
    partitions: int,
    timeout_s: float | None = None,
) -> list[Unconfirmed | None]:
    """Publish instructions in order; answers as `Publisher.publish` does, one entry for each.

    None: the broker keeps it, and it will be decided. Else it may or may not be: whoever wants
    it decided repeats the same key.
    """
    return publisher.publish([outgoing(each, partitions) for each in instructions], timeout_s)

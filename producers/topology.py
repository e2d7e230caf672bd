"""Make the exchanges, queues and bindings of `config.broker` exist."""

from collections.abc import Iterable
from functools import partial

import amqp

from config import broker
from producers.connection import Declare, connection, open_channel


class TopologyMismatch(Exception):
    """A queue or an exchange exists with other properties than ours; an operator must decide."""


def declare(broker_url: str, partitions: int, name: str = "topology") -> None:
    """Declare everything over a connection of its own. Repeating it changes nothing.

    Raises: TopologyMismatch; OSError or amqp.AMQPError if the broker cannot be reached.
    """
    opening = connection(broker_url, name)
    try:
        channel = open_channel(opening)
        declare_on(channel, partitions)
        _declare_queues(channel, broker.callback_queues())
        opening.close()
    finally:
        opening.collect()


def declaring(partitions: int) -> Declare:
    """What a Publisher does on each new connection: `declare_on` for so many partitions."""
    return partial(declare_on, partitions=partitions)


def declare_on(channel: amqp.Channel, partitions: int) -> None:
    """Declare what the ledger needs. Raises: TopologyMismatch, which ends the channel."""
    try:
        for name, kind in broker.exchanges().items():
            channel.exchange_declare(name, kind, durable=True, auto_delete=False)
    except amqp.PreconditionFailed as error:
        raise _mismatch(error) from error
    _declare_queues(channel, broker.queues(partitions))


def _declare_queues(channel: amqp.Channel, queues: Iterable[broker.Queue]) -> None:
    try:
        for queue in queues:
            channel.queue_declare(
                queue.name, durable=True, auto_delete=False, arguments=queue.arguments
            )
            channel.queue_bind(queue.name, queue.exchange, queue.routing_key)
    except amqp.PreconditionFailed as error:
        raise _mismatch(error) from error


def _mismatch(error: amqp.PreconditionFailed) -> TopologyMismatch:
    return TopologyMismatch(
        f"the broker has it with other properties than this release needs: {error.reply_text}"
    )

"""How much waits in queues, asked of the broker without changing anything."""

from collections.abc import Sequence
from dataclasses import dataclass

import amqp

from config.broker import partition_queue
from producers.connection import connection, open_channel


@dataclass(frozen=True, slots=True)
class Depth:
    """One queue: messages that wait for a consumer, and consumers, standbys included.

    Messages that a consumer has been given and not yet acknowledged are not among those that
    wait.
    """

    messages: int
    consumers: int


class BrokerAway(Exception):
    """The broker did not answer; the message says how."""


def depths(broker_url: str, partitions: Sequence[int]) -> dict[int, Depth]:
    """The depth of each partition's queue; a queue that does not exist is left out.

    Raises: BrokerAway.
    """
    names = {partition_queue(number).name: number for number in partitions}
    return {names[name]: depth for name, depth in depths_of(broker_url, list(names)).items()}


def depths_of(broker_url: str, queues: Sequence[str]) -> dict[str, Depth]:
    """The depth of each of these queues; one that does not exist is left out.

    Raises: BrokerAway.
    """
    opening = connection(broker_url, "operator")
    try:
        channel = open_channel(opening)
        found = {}
        for name in queues:
            try:
                answer = channel.queue_declare(name, passive=True)
            except amqp.NotFound:
                # The broker ends the channel with this answer.
                channel = opening.channel()
                continue
            found[name] = Depth(answer.message_count, answer.consumer_count)
        opening.close()
    except (OSError, amqp.AMQPError) as error:
        raise BrokerAway(f"{type(error).__name__}: {error}".strip()) from None
    finally:
        opening.collect()
    return found

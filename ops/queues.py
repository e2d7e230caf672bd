"""How much waits in the partitions' queues, asked of the broker without changing anything."""

from collections.abc import Sequence
from dataclasses import dataclass

import amqp

from config.broker import partition_queue
from producers.connection import connection, open_channel


@dataclass(frozen=True, slots=True)
class Depth:
    """One partition's queue: messages that wait for a worker, and consumers, standbys included.

    Messages that a worker has been given and not yet acknowledged are not among those that
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
    opening = connection(broker_url, "operator")
    try:
        channel = open_channel(opening)
        found = {}
        for number in partitions:
            try:
                answer = channel.queue_declare(partition_queue(number).name, passive=True)
            except amqp.NotFound:
                # The broker ends the channel with this answer.
                channel = opening.channel()
                continue
            found[number] = Depth(answer.message_count, answer.consumer_count)
        opening.close()
    except (OSError, amqp.AMQPError) as error:
        raise BrokerAway(f"{type(error).__name__}: {error}".strip()) from None
    finally:
        opening.collect()
    return found

"""An instruction goes to the partition that decides it, as itself."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from config.broker import partition_queue
from domain.identity import partition_of
from domain.instructions import decode
from ops.stack.services import Services
from producers.instructions import publish_all
from producers.publisher import Publisher
from producers.topology import declare, declaring
from tests.bookkeeping import transfer
from tests.producers.place import channel_to, confirmed

PARTITIONS = 3


def test_each_instruction_is_in_the_queue_of_its_wallets_partition(services: Services) -> None:
    instructions = [transfer(uuid.uuid4(), f"source {n}", "bob", 100) for n in range(30)]
    declare(services.broker_url, PARTITIONS)
    arrived: dict[int, list[Any]] = {partition: [] for partition in range(PARTITIONS)}

    with channel_to(services.broker_url) as channel, publishing(services) as publisher:
        for partition, messages in arrived.items():
            queue = partition_queue(partition).name
            channel.queue_purge(queue)
            channel.basic_consume(queue, no_ack=True, callback=messages.append)

        assert confirmed(publish_all(publisher, instructions, PARTITIONS))

        while sum(map(len, arrived.values())) < len(instructions):
            channel.connection.drain_events(timeout=10)

    for partition, messages in arrived.items():
        expected = [
            each
            for each in instructions
            if partition_of(each.partition_key, PARTITIONS) == partition
        ]
        assert [decode(message.body) for message in messages] == expected
        assert [message.properties["message_id"] for message in messages] == [
            each.id for each in expected
        ]


@contextmanager
def publishing(services: Services) -> Iterator[Publisher]:
    publisher = Publisher(
        services.broker_url, name="test", confirm_timeout_s=10.0, declare=declaring(PARTITIONS)
    )
    try:
        yield publisher
    finally:
        publisher.close()

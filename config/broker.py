"""The broker's layout as data: who declares it is somebody else's business.

Every argument means the same on RabbitMQ 3.10 and 4.x.
"""

from dataclasses import dataclass, field
from typing import Any, Final

LEDGER_EXCHANGE: Final = "tekana.ledger"
"""Direct and durable. The routing key is the partition's number."""

DEAD_EXCHANGE: Final = "tekana.dead"
"""Fanout and durable. Nothing should ever arrive here; what does is kept."""

DEAD_QUEUE: Final = "ledger.dead"

DELIVERY_LIMIT: Final = 1_000_000
"""Never unset: 3.10 would requeue at the tail and 4.x would stop at 20. Never -1: on 3.10
that discards a message at its first redelivery."""


@dataclass(frozen=True, slots=True)
class Queue:
    """One durable queue, bound to one exchange by one key."""

    name: str
    exchange: str
    routing_key: str
    arguments: dict[str, Any] = field(default_factory=dict)


def partition_queue(partition: int) -> Queue:
    """The queue of one partition: replicated, and with one consumer at a time."""
    return Queue(
        name=f"ledger.p{partition:03d}",
        exchange=LEDGER_EXCHANGE,
        routing_key=str(partition),
        arguments={
            "x-queue-type": "quorum",
            "x-single-active-consumer": True,
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-overflow": "reject-publish",
            "x-dead-letter-exchange": DEAD_EXCHANGE,
            "x-dead-letter-strategy": "at-least-once",
        },
    )


def exchanges() -> dict[str, str]:
    """Every exchange, with its type."""
    return {LEDGER_EXCHANGE: "direct", DEAD_EXCHANGE: "fanout"}


def queues(partitions: int) -> list[Queue]:
    """Every queue of a system with so many partitions."""
    dead = Queue(DEAD_QUEUE, DEAD_EXCHANGE, "", {"x-queue-type": "quorum"})
    return [dead, *(partition_queue(partition) for partition in range(partitions))]

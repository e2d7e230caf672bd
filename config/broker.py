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

OUTBOX_EXCHANGE: Final = "tekana.out"
"""Direct and durable. The routing key is a partner's name. No partner may write to it, and our
own processes need no right to publish past all exchanges."""

CALLBACKS_EXCHANGE: Final = "tekana.callbacks"
"""Direct and durable. The routing key is a queue's name."""

CALLBACK_EVENTS: Final = "callbacks.events"
CALLBACK_ENDPOINTS: Final = "callbacks.endpoints"
CALLBACK_SWEEPS: Final = "callbacks.sweeps"

INBOX_MESSAGES: Final = 200_000
"""A payroll of 100,000 instructions fits while another one still waits; of 300 bytes each, they
take 120 MB of disk. What is refused beyond that, its sender keeps and sends again."""

INBOX_BYTES: Final = 256 * 1024 * 1024
"""What an inbox may hold if a partner's messages are as large as they may be."""

OUTBOX_EVENTS: Final = 100_000
"""Of the contract, as is the week. What is dropped is at `GET /v1/events` as well."""

OUTBOX_MS: Final = 7 * 24 * 3600 * 1000

PROPERTIES_BYTES_MOST: Final = 4096
"""Of all properties of a message together, its headers included: what is longer is not read."""

PROPERTIES_TOO_LONG: Final = "too long"
"""Stands for properties that were not read. AMQP has none of that name."""

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


def partner_user(partner: str) -> str:
    """A partner's user of the broker. No process of ours has a name with a dot."""
    return f"partner.{partner}"


def inbox_exchange(partner: str) -> str:
    """Where a partner publishes. Fanout and durable, so that every routing key arrives."""
    return f"in.{partner}"


def inbox_queue(partner: str) -> Queue:
    """What a partner published and the inbox worker has not passed on.

    Bounded, and what does not fit is refused to its sender. There is no dead-lettering: a
    partner decides when its messages expire, and could fill a queue that is everybody's.
    """
    return Queue(
        name=f"in.{partner}",
        exchange=inbox_exchange(partner),
        routing_key="",
        arguments={
            "x-queue-type": "quorum",
            "x-single-active-consumer": True,
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-overflow": "reject-publish",
            "x-max-length": INBOX_MESSAGES,
            "x-max-length-bytes": INBOX_BYTES,
        },
    )


def outbox_queue(partner: str) -> Queue:
    """A partner's events. Several may consume at once, and `basic.get` works."""
    return Queue(
        name=f"out.{partner}",
        exchange=OUTBOX_EXCHANGE,
        routing_key=partner,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-overflow": "drop-head",
            "x-max-length": OUTBOX_EVENTS,
            "x-message-ttl": OUTBOX_MS,
        },
    )


def callback_queues() -> list[Queue]:
    """What callback workers are told to do.

    Each message only says where to look: everything is in Postgres, and a sweep finds what is
    dropped here. So these queues are short, and nothing in them grows old.
    """
    return [
        _callback_queue(CALLBACK_EVENTS, messages=20_000, ttl_ms=60_000),
        _callback_queue(CALLBACK_ENDPOINTS, messages=20_000, ttl_ms=60_000),
        _callback_queue(CALLBACK_SWEEPS, messages=100, ttl_ms=10_000),
    ]


def _callback_queue(name: str, messages: int, ttl_ms: int) -> Queue:
    return Queue(
        name=name,
        exchange=CALLBACKS_EXCHANGE,
        routing_key=name,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-overflow": "drop-head",
            "x-max-length": messages,
            "x-message-ttl": ttl_ms,
        },
    )


def exchanges() -> dict[str, str]:
    """Every exchange that is not a partner's, with its type."""
    return {
        LEDGER_EXCHANGE: "direct",
        DEAD_EXCHANGE: "fanout",
        OUTBOX_EXCHANGE: "direct",
        CALLBACKS_EXCHANGE: "direct",
    }


def queues(partitions: int) -> list[Queue]:
    """Every queue of a ledger with so many partitions; `callback_queues` are not among them."""
    dead = Queue(DEAD_QUEUE, DEAD_EXCHANGE, "", {"x-queue-type": "quorum"})
    return [dead, *(partition_queue(partition) for partition in range(partitions))]

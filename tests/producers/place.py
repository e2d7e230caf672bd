"""An exchange and queues of a test's own, and what is in them."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp

from producers.connection import connection, open_channel
from producers.messages import Outgoing, Unconfirmed
from producers.publisher import Publisher

QUORUM = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}


class Place:
    """A direct exchange with one queue, bound by its name."""

    def __init__(self, broker_url: str, **arguments: Any) -> None:
        self.broker_url = broker_url
        self.exchange = f"test.{uuid.uuid4().hex[:12]}"
        self.queue = f"{self.exchange}.queue"
        self._arguments = QUORUM | arguments

    def declare(self, channel: amqp.Channel) -> None:
        channel.exchange_declare(self.exchange, "direct", durable=True, auto_delete=False)
        channel.queue_declare(
            self.queue, durable=True, auto_delete=False, arguments=self._arguments
        )
        channel.queue_bind(self.queue, self.exchange, "key")

    def publisher(
        self, confirm_timeout_s: float = 10.0, declare: Callable[[Any], None] | None = None
    ) -> Publisher:
        return Publisher(
            self.broker_url,
            name=self.exchange,
            confirm_timeout_s=confirm_timeout_s,
            declare=declare or self.declare,
        )

    def message(self, message_id: str, key: str = "key", body: bytes = b"{}") -> Outgoing:
        return Outgoing(self.exchange, key, body, message_id)

    def held(self) -> list[str]:
        """The ids of all messages in the queue, in order; takes them out."""
        with channel_to(self.broker_url) as channel:
            found = iter(lambda: channel.basic_get(self.queue, no_ack=True), None)
            return [message.properties["message_id"] for message in found]


@contextmanager
def channel_to(broker_url: str) -> Iterator[amqp.Channel]:
    opened = connection(broker_url, "test")
    try:
        yield open_channel(opened)
        opened.close()
    finally:
        opened.collect()


def reasons(outcomes: list[Unconfirmed | None]) -> list[str | None]:
    return [outcome.reason if outcome is not None else None for outcome in outcomes]


def confirmed(outcomes: list[Unconfirmed | None]) -> bool:
    return all(outcome is None for outcome in outcomes)

"""A partner's own client: pika, as any AMQP client would do it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pika
from pika.exceptions import AMQPError

# So that a connection that a test has left open is not the one that fails.
_TIMEOUT_S = 10


def connect(url: str) -> pika.BlockingConnection:
    """An open connection, in one attempt."""
    parameters = pika.URLParameters(url)
    parameters.connection_attempts = 1
    parameters.socket_timeout = _TIMEOUT_S
    parameters.blocked_connection_timeout = _TIMEOUT_S
    return pika.BlockingConnection(parameters)


@contextmanager
def channel_of(url: str, *, confirm: bool = True) -> Iterator[Any]:
    """A channel, with confirms unless they are not wanted, on a connection of its own."""
    connection = connect(url)
    try:
        channel = connection.channel()
        if confirm:
            channel.confirm_delivery()
        yield channel
    finally:
        with suppress(AMQPError):
            connection.close()


def publish(
    channel: Any, exchange: str, key: str = "", body: bytes = b"{}", **properties: Any
) -> None:
    """Return when the broker has confirmed the message; raise what it says otherwise."""
    channel.basic_publish(
        exchange,
        key,
        body,
        pika.BasicProperties(content_type="application/json", delivery_mode=2, **properties),
        mandatory=True,
    )

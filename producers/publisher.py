"""Publish messages so that one knows what became of each.

Request threads hand messages over and wait; one thread per process owns the connection
(`producers.courier`) and settles each message when its own confirm comes.
"""

import os
import threading
import weakref
from collections.abc import Sequence

from producers.confirms import Handover
from producers.connection import Declare
from producers.courier import Courier
from producers.messages import Outgoing, Reason, Unconfirmed
from producers.wire import encode


class Publisher:
    """Publishes over one connection of its own; any number of threads may share it.

    It starts with the first publish, `start` or `ready`, and reconnects for ever, until `close`.
    After a fork the child starts anew, with a connection and a thread of its own.
    """

    def __init__(
        self, broker_url: str, *, name: str, confirm_timeout_s: float, declare: Declare
    ) -> None:
        """`name` is shown by RabbitMQ; `declare` runs on each new connection."""
        self._broker_url = broker_url
        self._name = name
        self._confirm_timeout_s = confirm_timeout_s
        self._declare = declare
        self._starting = threading.Lock()
        self._courier: Courier | None = None
        self._closed = False
        _publishers.add(self)

    def publish(
        self, messages: Sequence[Outgoing], timeout_s: float | None = None
    ) -> list[Unconfirmed | None]:
        """Hand messages to the broker and wait for its promise to keep each.

        They are sent in the order given, after those that other threads handed over earlier.
        Answers one entry for each message, in order: None if it is confirmed, else why not.
        Takes at most `timeout_s` (`confirm_timeout_s` if None), and next to nothing when the
        broker is known to be away or blocked.

        Raises: ValueError if AMQP cannot express a message.
        """
        if not messages:
            return []
        handover = Handover(messages, [encode(message) for message in messages])
        courier = self._courier or self.start()
        refusal: Reason | None = courier.hand_over(handover) if courier else "unavailable"
        if refusal is not None:
            return [Unconfirmed(refusal) for _ in messages]
        return handover.wait(self._confirm_timeout_s if timeout_s is None else timeout_s)

    def start(self) -> Courier | None:
        """Begin to connect, in the background; changes nothing if it has begun.

        Answers the courier, None if the publisher was closed before it had one.
        """
        with self._starting:
            if self._courier is None and not self._closed:
                self._courier = Courier(
                    self._broker_url, self._name, self._confirm_timeout_s, self._declare
                )
            return self._courier

    def ready(self) -> bool:
        """Whether a publish has a chance now: connected, and not blocked by the broker."""
        courier = self._courier or self.start()
        return courier is not None and courier.ready()

    def close(self) -> None:
        """Refuse new messages, wait for those on their way, and disconnect. Final."""
        with self._starting:
            self._closed = True
        if self._courier is not None:
            self._courier.close()

    def _after_fork(self) -> None:
        """In the child: no thread came along, and the sockets are the parent's."""
        if self._courier is not None:
            self._courier.forget()
        self._courier = None
        self._starting = threading.Lock()


_publishers: "weakref.WeakSet[Publisher]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for publisher in tuple(_publishers):
        publisher._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)

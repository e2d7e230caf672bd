"""The connection for Flower's events: losing it costs events, never the worker."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from amqp.exceptions import RecoverableConnectionError

from ops.stack.services import Services
from tests.support import settings_for
from workers.app import EVENTS_KEPT, celery_app


@pytest.fixture
def dispatcher(services: Services) -> Iterator[Any]:
    app = celery_app(settings_for(services))
    with app.connection_for_write() as connection:
        made = app.events.Dispatcher(connection, hostname="tests", buffer_group=["task"])
        made.send("worker-heartbeat", retry=True)
        sock = connection.connection.sock
        yield made
        sock.close()  # The library lets go of a socket that was lost without closing it.


def lose(dispatcher: Any) -> None:
    dispatcher.connection.connection.sock.shutdown(socket.SHUT_RDWR)


def test_a_heartbeat_on_a_lost_connection_says_so_and_connects_nowhere(dispatcher: Any) -> None:
    """Found by the torture: kombu connected anew within the call, for ever, in a storm."""
    before = dispatcher.connection._connection
    lose(dispatcher)

    with pytest.raises(RecoverableConnectionError):
        dispatcher.send("worker-heartbeat", retry=True)

    assert dispatcher.connection._connection is before


def test_events_on_a_lost_connection_are_kept_up_to_a_bound(dispatcher: Any) -> None:
    lose(dispatcher)

    for number in range(EVENTS_KEPT + 10):
        dispatcher.send("task-received", uuid=str(number))
    dispatcher.flush()
    for _ in range(EVENTS_KEPT + 10):
        dispatcher.send("worker-online", retry=True)

    assert len(dispatcher._outbound_buffer) == EVENTS_KEPT

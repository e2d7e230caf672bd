"""Connections to the broker, as py-amqp makes them, with limits on every wait."""

import os
import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import amqp

STEP_TIMEOUT_S: Final = 2.0
"""How long the broker may be silent while a connection is being made."""

HEARTBEAT_S: Final = 10

# py-amqp gives up a connection whose data went unacknowledged for 1 s, and looks at an idle one
# after 60 s. A broker that is short of memory leaves data lying for longer than 1 s.
_SOCKET: Final[dict[int, int]] = {
    socket.TCP_NODELAY: 1,
    socket.TCP_USER_TIMEOUT: 20_000,
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
}


def connection(broker_url: str, name: str, **options: Any) -> amqp.Connection:
    """A connection that is yet to be opened; RabbitMQ shows it as `tekana <name> <pid>`.

    The URL is amqp:// or amqps://. With amqps the broker's certificate must be valid for its
    host name.
    """
    url = urlsplit(broker_url)
    secure = url.scheme == "amqps"
    host = url.hostname or "localhost"
    address = f"[{host}]" if ":" in host else host
    return amqp.Connection(
        host=f"{address}:{url.port or (5671 if secure else 5672)}",
        userid=unquote(url.username or "guest"),
        password=unquote(url.password or "guest"),
        login_method="PLAIN",
        virtual_host=unquote(url.path[1:]) or "/",
        ssl={"server_hostname": host} if secure else False,
        client_properties={"connection_name": f"tekana {name} {os.getpid()}"},
        heartbeat=HEARTBEAT_S,
        connect_timeout=STEP_TIMEOUT_S,
        read_timeout=STEP_TIMEOUT_S,
        write_timeout=STEP_TIMEOUT_S,
        socket_settings=_SOCKET,
        **options,
    )


def open_channel(opening: amqp.Connection, channel_id: int = 1) -> amqp.Channel:
    """Shake hands and open a channel; each step within STEP_TIMEOUT_S.

    Raises: OSError or amqp.AMQPError.
    """
    opening.connect()
    # The library's own timeouts end with the handshake; this one holds for what comes after.
    opening.sock.settimeout(STEP_TIMEOUT_S)
    return opening.channel(channel_id)


Declare = Callable[[amqp.Channel], None]
"""Makes sure, on an open channel, that what is needed exists."""

"""Ports on 127.0.0.1 for private services."""

import random
import socket
from collections.abc import Iterable
from pathlib import Path

HOST = "127.0.0.1"
_FIRST = 20_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Servers set it too: a connection that lingers in TIME_WAIT does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether something listens on this port of 127.0.0.1 now."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def free_port(avoid: Iterable[int] = ()) -> int:
    """A free port below the range the kernel gives to outgoing connections.

    A service keeps its port over restarts. Were the port in the ephemeral range, a client
    that reconnects while the service is away could be given that very port as its own and
    keep the service from coming back.
    """
    taken = set(avoid)
    choices = [port for port in range(_FIRST, _last()) if port not in taken]
    random.shuffle(choices)
    for port in choices:
        if is_free(port):
            return port
    raise OSError("no free port on 127.0.0.1")


def _last() -> int:
    try:
        first_ephemeral = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first_ephemeral = 32_768
    # Some machines give the whole range to outgoing connections: then there is no better half.
    return first_ephemeral if first_ephemeral > _FIRST + 1_000 else 32_768

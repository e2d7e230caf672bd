"""A bound on how long a process waits for Postgres, even one that was stopped in mid-answer."""

import select
import time
from typing import Any, Final

import psycopg2
import psycopg2.extensions

WAIT_S: Final = 2.0
"""For connecting, and for each statement."""


def bound_waits_for_postgres() -> None:
    """Let no wait of this process for Postgres take longer than `WAIT_S`.

    `statement_timeout` is kept by the server, and a server that hangs keeps nothing. Every
    connection of the process is bound by this, so it is for processes that only ask: it rules
    out COPY, and long statements. What takes too long raises psycopg2.OperationalError, and
    its connection is closed.
    """
    psycopg2.extensions.set_wait_callback(_wait)


def _wait(connection: Any) -> None:
    until = time.monotonic() + WAIT_S
    poller: select.poll | None = None
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        if poller is None:
            poller = select.poll()
        wanted = select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT
        poller.register(connection.fileno(), wanted)
        left_ms = (until - time.monotonic()) * 1000
        if left_ms <= 0 or not poller.poll(left_ms):
            raise psycopg2.OperationalError(f"Postgres did not answer within {WAIT_S} s")

"""Pipelines to Redis with a bound on time and no exceptions: Redis is only ever a help."""

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from storage.breaker import Breaker

TIMEOUT_S: Final = 0.2
"""For connecting, for each write and for each read."""

PAUSE_S: Final = 1.0
"""How long Redis is left alone after it failed."""

_T = TypeVar("_T")
_LOG: Final = logging.getLogger(__name__)


def connections(redis_url: str, timeout_s: float = TIMEOUT_S) -> ConnectionPool:
    """A maker of connections that ask Redis for nothing but what is sent.

    By default, redis-py 8 says HELLO, subscribes to maintenance notifications, names its
    version in two more round trips, and retries ten times.
    """
    return ConnectionPool.from_url(
        redis_url,
        protocol=2,
        driver_info=None,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
    )


def packed(*parts: bytes) -> bytes:
    """One command as Redis reads it (RESP)."""
    return b"*%d\r\n" % len(parts) + _words(parts)


def _words(parts: Sequence[bytes]) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


_SAY_NOTHING: Final = packed(b"CLIENT", b"REPLY", b"OFF")
_SPEAK: Final = packed(b"CLIENT", b"REPLY", b"ON")


class SetCommand:
    """SET with the same options each time, which are packed once: it is our every other command."""

    def __init__(self, *options: bytes) -> None:
        self._head = b"*%d\r\n$3\r\nSET\r\n" % (3 + len(options))
        self._tail = _words(options)

    def packed(self, key: bytes, value: bytes) -> bytes:
        """The command for one key."""
        words = (self._head, len(key), key, len(value), value, self._tail)
        return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n%b" % words


class RedisLink:
    """Sends pipelines over connections of its own. Share it between threads, not by fork."""

    def __init__(self, redis_url: str) -> None:
        # Only the pool's recipe is used. The pool itself counts every connection that it ever
        # made, lost ones too, and makes no more after the hundredth.
        recipe = connections(redis_url)
        self._connect = partial(recipe.connection_class, **recipe.connection_kwargs)
        self._idle: deque[Any] = deque()
        self._breaker = Breaker(PAUSE_S)
        self._pid = os.getpid()

    def ask(self, commands: Sequence[bytes]) -> list[Any] | None:
        """Send packed commands in one round trip.

        Returns each command's answer, an error in its place where Redis refused it, or
        None when Redis is away: then within a few timeouts, and at once for a while after.
        """

        def asked(connection: Any) -> list[Any]:
            connection.send_packed_command([b"".join(commands)])
            return [self._answer(connection) for _ in commands]

        return self._talked(asked)

    def tell(self, commands: Sequence[bytes]) -> None:
        """Send packed commands in one round trip; they have been carried out on return.

        Nobody learns what Redis said to each: to read an answer takes longer than to write the
        command. When Redis is away nothing happens, as with `ask`.
        """

        def told(connection: Any) -> None:
            connection.send_packed_command([b"".join((_SAY_NOTHING, *commands, _SPEAK))])
            answer = self._answer(connection)
            if answer != b"OK":
                # It may not be silent: on this connection, all the other answers would follow.
                raise RedisError(answer)

        self._talked(told)

    def _talked(self, exchange: Callable[[Any], _T]) -> _T | None:
        """What came of an exchange over one of the connections; None when Redis is away."""
        if not self._breaker.admits():
            return None
        self._forget_if_forked()
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            found = exchange(connection)
        except (RedisError, OSError) as error:
            self._failed(connection, error)
            return None
        self._breaker.succeeded()
        self._idle.append(connection)
        return found

    def close(self) -> None:
        """Close the idle connections. The link can still be used, and opens others."""
        while self._idle:
            self._idle.pop().disconnect()

    @staticmethod
    def _answer(connection: Any) -> Any:
        try:
            return connection.read_response()
        except ResponseError as error:
            # Full memory, a read-only replica: an answer, and the next one still follows.
            return error

    def _failed(self, connection: Any, error: Exception) -> None:
        self._breaker.failed()
        connection.disconnect()
        # Whatever ended this connection has probably ended the idle ones too.
        self.close()
        _LOG.warning("Redis is away: %s", type(error).__name__)

    def _forget_if_forked(self) -> None:
        if self._pid != os.getpid():
            # The connections belong to the parent: closing them here is not for us to do.
            self._idle = deque()
            self._pid = os.getpid()

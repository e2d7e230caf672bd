"""The thread that owns the connection: it takes what callers hand over and brings it away."""

import contextlib
import logging
import random
import select
import socket
import threading
from collections import deque
from time import monotonic
from typing import Final

import amqp

from producers.confirms import Handover
from producers.connection import Declare
from producers.link import Link, LinkLost
from producers.messages import Reason
from producers.topology import TopologyMismatch

logger = logging.getLogger(__name__)

MAX_SENT: Final = 5_000
"""Messages on their way to which the broker has not answered; beyond that, handovers wait."""

MAX_WAITING: Final = 500
"""Handovers that wait to be sent; beyond that, new ones are refused."""

GRACE_S: Final = 1.0
"""How long after a start or a loss of the connection a publish is still worth waiting."""

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0

_EXPECTED: Final = (OSError, amqp.AMQPError, LinkLost, TopologyMismatch)


class Courier:
    """A running thread with at most one `Link`, which it replaces for as long as it lives.

    `hand_over`, `ready` and `close` are for other threads; the rest is its own.
    """

    def __init__(
        self, broker_url: str, name: str, confirm_timeout_s: float, declare: Declare
    ) -> None:
        self._broker_url = broker_url
        self._name = name
        self._confirm_timeout_s = confirm_timeout_s
        self._declare = declare
        self._waiting: deque[Handover] = deque()
        self._link: Link | None = None
        self._down_since_s = monotonic()
        self._away = False
        self._idle = False
        self._closing = False
        self._trouble = ""
        self._waker, self._alarm = socket.socketpair()
        self._waker.setblocking(False)
        self._alarm.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=f"publisher {name}", daemon=True)
        self._thread.start()

    def hand_over(self, handover: Handover) -> Reason | None:
        """Queue it to be sent. If there is no chance of that, say why instead, at once."""
        refusal = self._refusal()
        if refusal is None:
            self._waiting.append(handover)
            if self._idle:
                # Of many callers only the first wakes the thread: it takes all that waits.
                self._idle = False
                self._wake()
        return refusal

    def ready(self) -> bool:
        """Whether it is connected, and not blocked by the broker."""
        link = self._link
        return link is not None and not link.blocked

    def close(self) -> None:
        """Send what waits, as far as the confirm timeout allows, disconnect and end."""
        self._closing = True
        self._wake()
        self._thread.join()
        self._waker.close()
        self._alarm.close()

    def forget(self) -> None:
        """In the child of a fork: let go of the sockets, which are the parent's too."""
        if self._link is not None:
            self._link.forget()
        self._waker.close()
        self._alarm.close()

    def _refusal(self) -> Reason | None:
        link = self._link
        if self._closing or len(self._waiting) >= MAX_WAITING:
            return "unavailable"
        if link is None:
            late = monotonic() - self._down_since_s > GRACE_S
            return "unavailable" if self._away or late else None
        return "blocked" if link.blocked else None

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # Full: it will wake. Closed: nobody is to be woken.
            self._alarm.send(b"\0")

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._closing:
                if self._connect_and_serve():
                    pause_s = _FIRST_PAUSE_S
                if self._away:
                    self._refuse_waiting("unavailable")
                self._sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self._away = True
            self._refuse_waiting("unavailable")

    def _connect_and_serve(self) -> bool:
        """Use one connection as long as it lasts. Whether it confirmed a message."""
        link = None
        try:
            link = Link(self._broker_url, self._name, self._declare, self._waker)
            self._link, self._away = link, False
            self._is_well()
            self._serve(link)
            link.close()
        except _EXPECTED as error:
            if self._is_news(error):
                logger.warning("publisher %s: no connection (%s)", self._name, self._trouble)
        except Exception as error:
            # Whatever this is, a thread that died of it would leave every caller waiting.
            if self._is_news(error):
                logger.exception("publisher %s: unexpected error, connecting again", self._name)
        finally:
            self._down_since_s = monotonic()
            self._away = link is None
            self._link = None
            if link is not None:
                link.confirms.fail("closed")
                link.drop()
        return link is not None and link.confirms.settled > 0

    def _serve(self, link: Link) -> None:
        """Send, settle and keep the connection alive, until it is lost or we are to close."""
        tick_s = min(1.0, self._confirm_timeout_s / 2)
        check_at_s, give_up_at_s = 0.0, float("inf")
        while monotonic() < give_up_at_s:
            # In this order, and the other way round in `hand_over`: either this thread sees
            # the handover, or the caller sees that it must wake it.
            self._idle = True
            link.wait(0 if self._may_send(link) else tick_s)
            self._idle = False
            if link.blocked:
                self._refuse_waiting("blocked")
            while self._may_send(link):
                handover = self._waiting.popleft()
                if handover.take():
                    link.send(handover)
            link.flush()
            now_s = monotonic()
            if now_s >= check_at_s:
                link.check(now_s, patience_s=2 * self._confirm_timeout_s)
                check_at_s = now_s + tick_s
            if self._closing:
                give_up_at_s = min(give_up_at_s, now_s + self._confirm_timeout_s)
                if not self._waiting and not link.confirms:
                    return

    def _may_send(self, link: Link) -> bool:
        return bool(self._waiting) and len(link.confirms) < MAX_SENT

    def _refuse_waiting(self, reason: Reason) -> None:
        while self._waiting:
            handover = self._waiting.popleft()
            if handover.take():
                handover.refuse(reason)

    def _sleep(self, time_s: float) -> None:
        """Sleep, but not through `close`."""
        until_s = monotonic() + time_s
        alarm = select.poll()
        alarm.register(self._waker, select.POLLIN)
        while not self._closing and (left_s := until_s - monotonic()) > 0:
            if alarm.poll(left_s * 1000):
                self._waker.recv(4096)

    def _is_news(self, error: Exception) -> bool:
        """Whether to log it: one trouble is told once, not at each attempt to connect."""
        before, self._trouble = self._trouble, f"{type(error).__name__}: {error}"
        return self._trouble != before

    def _is_well(self) -> None:
        if self._trouble:
            logger.info("publisher %s: connected to the broker again", self._name)
        self._trouble = ""

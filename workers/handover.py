"""Tell the callback workers what was committed, at once. It is a help and nothing more.

What is not told here stays pending in Postgres, where a sweep finds it seconds later. So
nothing waits for the broker, and everything may be dropped.
"""

import logging
import queue
import threading
import time
from contextlib import suppress
from typing import Any, Final

from celery import Celery
from kombu.connection import Connection

from config.logs import described
from storage.events import Written
from workers.callbacks.app import HAND_ON

log = logging.getLogger(__name__)

WAITING_MOST: Final = 1000
"""Transactions that wait to be told of; there are more only while the broker does not answer."""

TOLD_AT_ONCE: Final = 100
"""Transactions in one message."""

GATHER_S: Final = 0.005
"""How long the first waits for others that come with it."""

APART_S: Final = 0.025
"""How far messages are apart at least, so that many small batches are no storm of messages."""

PAUSE_S: Final = 1.0
"""How long the broker is left alone after it could not be reached."""

CONNECT_S: Final = 2


class Handover:
    """Passes on which transactions have events that somebody waits for.

    `app` knows where the task's queue is. Connects in a thread of its own, which ends with the
    process.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._waiting: queue.Queue[Written] = queue.Queue(WAITING_MOST)
        self._over = threading.Event()
        self._connection: Connection | None = None
        self._producer: Any = None
        self._thread: threading.Thread | None = None
        self._away = False
        self._told_at_s = 0.0

    def hand_on(self, written: Written) -> None:
        """Have it told, soon or never. Returns at once and never raises; for one thread."""
        with suppress(queue.Full):
            self._waiting.put_nowait(written)
        self.open()

    def open(self) -> None:
        """Connect already, so that the first event waits for nothing. Returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="handover", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread and its connection. What was not told by then is left to the sweep."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._connect()
                batch = self._gathered()
                if batch:
                    self._tell(batch)
            except Exception as error:  # noqa: BLE001  The sweep finds what is not told.
                self._warn(error)
                self._disconnect()
                self._over.wait(PAUSE_S)
        self._disconnect()

    def _gathered(self) -> list[Written]:
        """Some of what waits; nothing if nothing has come for a while."""
        try:
            batch = [self._waiting.get(timeout=PAUSE_S)]
        except queue.Empty:
            return []
        time.sleep(max(GATHER_S, self._told_at_s + APART_S - time.monotonic()))
        while len(batch) < TOLD_AT_ONCE and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
        return batch

    def _connect(self) -> None:
        if self._producer is not None:
            return
        # Nobody would send heartbeats while there is nothing to say.
        self._connection = self._app.connection_for_write(heartbeat=0, connect_timeout=CONNECT_S)
        self._connection.connect()
        self._producer = self._app.amqp.Producer(self._connection.channel(), auto_declare=False)

    def _tell(self, batch: list[Written]) -> None:
        self._told_at_s = time.monotonic()
        told = [[each.at.isoformat(), each.xact, each.instructions] for each in batch]
        self._app.send_task(
            HAND_ON, args=[told], producer=self._producer, retry=False, ignore_result=True
        )
        if self._away:
            self._away = False
            log.info("events are handed on again")

    def _disconnect(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.collect()  # type: ignore[no-untyped-call]

    def _warn(self, error: Exception) -> None:
        """Once for each time that the broker is away."""
        if not self._away:
            self._away = True
            log.warning(
                "events are not handed on; the sweep will find them",
                extra={"fault": described(error)},
            )

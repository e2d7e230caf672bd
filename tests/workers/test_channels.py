"""The step's use of Celery's event loop."""

import os
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.asynchronous import Hub

from workers.channels import AT_ONCE_S, ChannelStep, Lane

_BATCHES = 40
_HUB_SLEEPS_S = 1.0


class _Busy(ChannelStep):
    """Settles a backlog: what comes next is known before the work on a batch begins."""

    left = _BATCHES
    ended_at = 0.0

    def _settle(self, lane: Any) -> None:
        self._appoint(lane, 0.0)
        time.sleep(2 * AT_ONCE_S)  # Work: what is waited for here is nobody else's doing.
        self.left -= 1
        self.ended_at = time.monotonic()


@pytest.fixture
def hub() -> Iterator[Hub]:
    """An event loop with one silent socket."""
    hub = Hub()
    silent, other = os.pipe()
    hub.add_reader(silent, lambda: None)
    yield hub
    hub.close()
    for descriptor in (silent, other):
        os.close(descriptor)


def test_a_backlog_is_settled_without_a_pause_though_nothing_more_comes(hub: Hub) -> None:
    """Found by the bench: after ten timers in one turn Celery's event loop slept for a second."""
    consumer = SimpleNamespace(timer=hub.timer, connection_errors=(), channel_errors=())
    step = _Busy(consumer)
    step._lanes = [Lane()]

    begun = time.monotonic()
    step._appoint(step._lanes[0], 0.0)
    turns = hub.create_loop()
    while step.left > 0:
        next(turns)

    assert step.ended_at - begun < _HUB_SLEEPS_S

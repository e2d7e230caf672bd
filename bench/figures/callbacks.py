"""Callbacks: how many leave in a second, how soon, and what their events cost the ledger."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from bench.bench import Bench, Sample
from bench.ground import Ground
from bench.receiver import Call, Receiver
from bench.results import Figure, Target, percentile
from bench.transfers import uniform
from bench.waiting import Waiting
from domain.events import EventType
from ops.stack.application import ApplicationProcess
from ops.stack.folder import CHECKOUT
from storage import endpoints
from storage.secrets import SecretKeys, make_secret
from workers.callbacks.door import IN_FLIGHT

RATE: Final = "callbacks to one receiver"
P99: Final = "callbacks at 200/s, commit to received, p99"
DRAIN: Final = "drain with events for every instruction"
NAMES: Final = (RATE, P99, DRAIN)

_BARE: Final = "bare loop of the same client"
_WITHOUT: Final = "drain without them"
_PACED_PER_S: Final = 200
_TICK_S: Final = 0.05
_WARM_UP_S: Final = 1.0


def measure(bench: Bench, end_s: float) -> list[Figure]:
    """One endpoint is told of every outcome; its receiver is in this process."""
    waiting = Waiting(bench)
    share_s = (end_s - bench.clock.passed_s) / 2
    with Receiver() as receiver, _endpoint(bench.ground, receiver.url):
        rates = bench.interleaved(
            {
                RATE: lambda: _called_per_s(bench, waiting, receiver),
                _BARE: lambda: _posted_per_s(bench.ground, receiver),
            },
            end_s=end_s - share_s,
            rounds=bench.sizes.callback_rounds,
        )
        with bench.steps.step(P99):
            delays_ms = _delays_ms(bench, waiting, receiver)
        drains = bench.interleaved(
            {
                DRAIN: _drained(bench, waiting, bench.ground.workers(events=False)),
                _WITHOUT: _drained(bench, waiting, bench.ground.workers_without_outbox()),
            },
            end_s=end_s,
            rounds=bench.sizes.callback_rounds,
        )
    waiting.close()
    return [
        Figure(
            RATE,
            "callbacks/s",
            rates[RATE],
            Target("ratio", "at least", 0.5),
            _BARE,
            rates[_BARE],
            f"{bench.sizes.callback_events:,} events wait when the callback worker starts; "
            f"{IN_FLIGHT} in flight, as in the bare loop",
        ),
        Figure(
            P99,
            "ms",
            [percentile(delays_ms, 99)],
            Target("value", "at most", 1000),
            note=f"{len(delays_ms):,} transfers on a schedule, p50 "
            f"{percentile(delays_ms, 50):.0f} ms, most {max(delays_ms):.0f} ms; from the time at "
            "which each was decided, just before its commit",
        ),
        Figure(
            DRAIN,
            "transfers/s",
            drains[DRAIN],
            Target("ratio", "at least", 0.85),
            _WITHOUT,
            drains[_WITHOUT],
            "an endpoint waits for them and no callback worker runs; without: no outbox at all",
        ),
    ]


@contextmanager
def _endpoint(ground: Ground, url: str) -> Iterator[None]:
    """While the block runs, the outcomes of every instruction are to be told there."""
    setting = ground.settings().secret_keys
    assert setting is not None
    endpoint_id, told = str(uuid.uuid4()), [EventType.SUCCEEDED, EventType.REJECTED]
    sealed = SecretKeys.from_setting(setting.get_secret_value()).encrypt(make_secret(), endpoint_id)
    with ground.operator() as engine:
        with engine.begin() as connection:
            endpoints.create(connection, ground.client_id, endpoint_id, url, told, sealed)
        yield
        with engine.begin() as connection:
            endpoints.delete(connection, ground.client_id, endpoint_id)


def _called_per_s(bench: Bench, waiting: Waiting, receiver: Receiver) -> float:
    """Everything is decided first, and then told as fast as it goes."""
    ground, count = bench.ground, bench.sizes.callback_events
    draw = uniform(bench.sizes.wallets, bench.chance)
    # Not just before the sample: the bare loop writes no pages for the first time.
    ground.settle()
    waiting.publish(count, draw, draw)
    with ground.running(*ground.workers(events=False)):
        waiting.drained()
    receiver.clear()
    with ground.running(*ground.callbacks()):
        receiver.wait(count)
    return receiver.per_s()


def _posted_per_s(ground: Ground, receiver: Receiver) -> float:
    """The calls that the receiver has just had, once more."""
    calls, posts = list(receiver.calls.values()), ground.folder / "posts"
    posts.write_text("".join(line_of(call) for call in calls))
    receiver.clear()
    subprocess.run(
        [sys.executable, "-P", "-m", "bench.bare_posts", receiver.url, posts, str(IN_FLIGHT)],
        env=ground.variables(),
        cwd=CHECKOUT,
        check=True,
    )
    receiver.wait(len(calls))
    return receiver.per_s()


def line_of(call: Call) -> str:
    """A line for `bench.bare_posts`: what a client does not add by itself, and the body."""
    lines = [line.partition(": ") for line in call.head.decode().splitlines()[1:] if line]
    wanted = {
        name: value
        for name, _, value in lines
        if name.lower().startswith(("webhook-", "content-type"))
    }
    return json.dumps([wanted, call.body.decode()]) + "\n"


def _delays_ms(bench: Bench, waiting: Waiting, receiver: Receiver) -> list[float]:
    """From when each transfer was decided until the receiver had it."""
    ground, draw = bench.ground, uniform(bench.sizes.wallets, bench.chance)

    def publish_paced(seconds: float) -> None:
        receiver.clear()
        each, begun = round(_PACED_PER_S * _TICK_S), time.monotonic()
        ticks = round(seconds / _TICK_S)
        for number in range(ticks):
            # The schedule is what is measured with: each batch leaves when it is due.
            time.sleep(max(0.0, begun + number * _TICK_S - time.monotonic()))
            waiting.publish_more(each, draw, draw)
        receiver.wait(ticks * each)

    with ground.running(*ground.workers(events=False), *ground.callbacks()):
        publish_paced(_WARM_UP_S)
        publish_paced(bench.sizes.callbacks_s)
    return [(call.at_s - _decided_s(call.body)) * 1000 for call in receiver.calls.values()]


def _decided_s(body: bytes) -> float:
    return datetime.fromisoformat(json.loads(body)["data"]["decided_at"]).timestamp()


def _drained(bench: Bench, waiting: Waiting, workers: Sequence[ApplicationProcess]) -> Sample:
    ground, draw = bench.ground, uniform(bench.sizes.wallets, bench.chance)

    def sample() -> float:
        waiting.publish(bench.sizes.drain_messages, draw, draw)
        ground.settle()
        with ground.running(*workers):
            return waiting.drained_per_s()

    return sample

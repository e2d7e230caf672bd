"""The drain: instructions that wait in the queues become outcomes in Redis.

Everything is published, confirmed, while no worker runs. Then two workers start, and the
clock with the first outcome, so that starting a process is nobody's speed.
"""

from typing import Final

from bench.bench import Bench, Sample
from bench.plain.design import PlainDesign, orders
from bench.results import Figure, Target
from bench.transfers import uniform
from bench.waiting import Waiting

DRAIN: Final = "drain"
FLOWER: Final = "drain with Flower and its events"
NAMES: Final = (DRAIN, FLOWER)

_PLAIN: Final = "plain design"
_WITHOUT: Final = "drain without them"


def measure(bench: Bench, end_s: float) -> list[Figure]:
    """The drain with all that runs in earnest, beside the plain design, and without Flower."""
    with bench.steps.step("plain design: accounts"):
        plain = PlainDesign(bench.ground, bench.sizes.wallets)
    waiting = Waiting(bench)
    plain_count, count = bench.sizes.plain_messages, bench.sizes.drain_messages
    found = bench.interleaved(
        {
            DRAIN: drained(bench, waiting, flower=True),
            _PLAIN: lambda: plain.per_s(orders(bench, plain_count)),
            _WITHOUT: drained(bench, waiting, flower=False),
        },
        end_s=end_s,
    )
    waiting.close()
    plain.close()
    return [
        Figure(
            DRAIN,
            "transfers/s",
            found[DRAIN],
            Target("ratio", "at least", 35),
            _PLAIN,
            found[_PLAIN],
            f"{count:,} waiting, 2 workers, Flower on; the plain design: {plain_count:,} waiting",
        ),
        Figure(
            FLOWER,
            "transfers/s",
            found[DRAIN],
            Target("ratio", "at least", 0.95),
            _WITHOUT,
            found[_WITHOUT],
        ),
    ]


def drained(bench: Bench, waiting: Waiting, *, flower: bool) -> Sample:
    """A sample of the drain."""
    ground = bench.ground
    draw = uniform(bench.sizes.wallets, bench.chance)

    def sample() -> float:
        waiting.publish(bench.sizes.drain_messages, draw, draw)
        ground.settle()
        shown = [ground.flower()] if flower else []
        with ground.running(*shown), ground.running(*ground.workers(events=flower)):
            return waiting.drained_per_s()

    return sample

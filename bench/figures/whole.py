"""The whole system at once: one transfer alone, and many on a schedule, until the outcome is there.

API, two workers and Flower run; what a caller waits for is timed, from outside.
"""

from typing import Final

from bench.bench import Bench
from bench.figures import lone, steady
from bench.results import Figure

NAMES: Final = lone.NAMES + steady.NAMES


def measure(bench: Bench, end_s: float) -> list[Figure]:
    """First with nobody else about, then at half of the intake."""
    ground = bench.ground
    api = ground.api()
    ground.settle()
    with ground.running(api, ground.flower(), *ground.workers()):
        return [
            *lone.measure(bench, api.port("http"), end_s),
            *steady.measure(bench, api.port("http")),
        ]

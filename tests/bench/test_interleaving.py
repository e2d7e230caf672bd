"""Samples are taken in turns, and in no more time than there is."""

import time

from bench.bench import Bench
from bench.clock import Clock
from bench.ground import Ground
from bench.progress import Steps
from bench.sizes import SMOKE


def a_bench(tmp_path) -> Bench:
    clock = Clock(60)
    return Bench(Ground(tmp_path / "run"), SMOKE, clock, Steps(clock))


def test_figure_and_peer_take_turns(tmp_path):
    order: list[str] = []

    def sample(name: str, value: float) -> float:
        order.append(name)
        return value

    found = a_bench(tmp_path).interleaved(
        {"ours": lambda: sample("ours", 2.0), "peer": lambda: sample("peer", 1.0)},
        end_s=60,
        rounds=3,
    )

    assert order == ["ours", "peer"] * 3
    assert found == {"ours": [2.0] * 3, "peer": [1.0] * 3}


def test_one_round_there_always_is_and_no_further_one_that_would_end_late(tmp_path):
    def slow() -> float:
        time.sleep(0.02)
        return 1.0

    found = a_bench(tmp_path).interleaved({"ours": slow, "peer": slow}, end_s=0.0, rounds=5)

    assert found == {"ours": [1.0], "peer": [1.0]}

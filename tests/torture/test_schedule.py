"""Faults are drawn from a seed: the same again, every kind early, no part twice at once."""

from itertools import islice

from bench.torture.run import table
from bench.torture.schedule import rounds

FAULTS = table(with_disk=True, with_clock=True)


def kinds(seed: int, count: int) -> list[list[str]]:
    return [[each.fault.kind for each in made] for made in islice(rounds(FAULTS, seed), count)]


def test_a_seed_draws_the_same_rounds_again_and_another_seed_others() -> None:
    assert kinds(1, 50) == kinds(1, 50)
    assert kinds(1, 50) != kinds(2, 50)


def test_every_kind_comes_once_before_any_comes_twice() -> None:
    drawn = [kind for made in kinds(3, 200) for kind in made]

    assert set(drawn[: len(FAULTS)]) == set(FAULTS)


def test_faults_of_one_round_hit_different_parts() -> None:
    for made in islice(rounds(FAULTS, 4), 300):
        parts = [each.fault.part for each in made]

        assert 1 <= len(parts) <= 3
        assert len(set(parts)) == len(parts)

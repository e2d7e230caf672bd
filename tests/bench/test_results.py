"""Medians, ratios, targets and percentiles."""

import pytest

from bench.results import Figure, Target, percentile

AT_LEAST_DOUBLE = Target("ratio", "at least", 2.0)


def a_figure(samples: list[float], peer: list[float], target: Target = AT_LEAST_DOUBLE) -> Figure:
    return Figure("store", "transfers/s", samples, target, "pgbench", peer)


def test_one_wild_sample_does_not_move_a_figure():
    figure = a_figure([100.0, 110.0, 900.0], [50.0, 1.0, 52.0])

    assert figure.value == 110
    assert figure.peer_value == 50
    assert figure.ratio == pytest.approx(2.2)


def test_a_target_is_met_at_its_bound_and_missed_below():
    assert a_figure([100.0], [50.0]).met
    assert not a_figure([99.0], [50.0]).met


def test_an_upper_bound_is_met_at_its_bound_and_missed_above():
    assert Target("value", "at most", 420).met_by(420)
    assert not Target("value", "at most", 420).met_by(421)


def test_a_ratio_without_a_peer_is_never_met():
    assert not a_figure([100.0], []).met


def test_a_figure_comes_back_from_json_as_it_was():
    figure = a_figure([100.0, 110.0], [50.0])

    assert Figure.from_json(figure.to_json()) == figure


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (99.9, 100), (100, 100)])
def test_a_percentile_is_one_of_the_values(percent, expected):
    assert percentile(list(range(1, 101)), percent) == expected


def test_a_percentile_of_one_value_is_that_value():
    assert percentile([7.0], 99) == 7.0


def test_there_is_no_percentile_of_nothing():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)

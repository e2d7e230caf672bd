"""Repeats are looked for once one has come, and not for ever."""

from storage.repeats import Repeats


def test_none_is_expected_before_one_has_come():
    assert not Repeats().expected


def test_one_that_came_has_others_looked_for_until_none_has_come_for_long():
    repeats = Repeats()
    repeats.noted(some=True)

    looks = 0
    while repeats.expected and looks < 1000:
        looks += 1
        repeats.noted(some=False)

    assert looks == 40


def test_each_one_that_comes_begins_the_wait_anew():
    repeats = Repeats()
    for _ in range(3):
        repeats.noted(some=True)
        for _ in range(39):
            repeats.noted(some=False)
            assert repeats.expected

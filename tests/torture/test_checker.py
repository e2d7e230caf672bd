"""The checker finds each kind of broken promise, and nothing in a run that kept them all."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.torture.checker import RULES, check
from bench.torture.journal import UNKNOWN, Journal, refused
from bench.torture.snapshot import Snapshot
from tests.bookkeeping import transfer
from tests.torture.spoilers import ALICE, BOB, SPOILT, row_of, told
from tests.torture.story import PARTITIONS, Story


def broken(story: Story) -> set[str]:
    story.ordered()
    return {violation.rule for violation in check(story.journal, story.snapshot)}


def test_a_run_that_kept_every_promise_is_sound() -> None:
    story = told().feed()

    assert broken(story) == set()


def test_what_was_never_confirmed_may_be_decided_or_not() -> None:
    story = told()
    story.send([transfer("u1", ALICE, BOB, 1)], UNKNOWN)
    second = transfer("u2", BOB, ALICE, 1)
    story.send([second], UNKNOWN)
    story.decide(second)

    assert broken(story) == set()


def test_a_key_that_was_used_for_two_bodies_may_refuse_either() -> None:
    story = told()
    story.send([transfer("k6", ALICE, BOB, 61)], refused("idempotency_key_reused"))
    story.send([transfer("k6", ALICE, BOB, 60)], refused("idempotency_key_reused"))

    assert broken(story) == set()


@pytest.mark.parametrize(("rule", "spoil"), SPOILT)
def test_each_broken_promise_is_found(rule: str, spoil: Callable[[Story], None]) -> None:
    story = told()
    spoil(story)

    assert rule in broken(story)


def test_every_rule_is_broken_by_one_of_these_tests() -> None:
    tried = {rule.replace(" ", "_") for rule, _ in SPOILT}

    assert tried == {rule.__name__ for rule in RULES}


def test_a_place_in_line_is_not_lost_to_a_quicker_door_or_request() -> None:
    story = told()
    first, second = transfer("s1", BOB, ALICE, 1), transfer("s2", BOB, ALICE, 1)
    story.send([first])
    story.send([second])
    story.send([second], door="partner")
    story.decide(second)
    story.decide(first)

    assert broken(story) == set()


def test_the_journal_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    story = told().feed()
    story.journal.poison.append("p")
    path = tmp_path / "journal.jsonl"

    story.journal.save(path)

    assert Journal.load(path) == story.journal


def test_an_empty_run_is_sound() -> None:
    assert check(Journal(), Snapshot(PARTITIONS)) == []


def test_a_debit_that_was_overlooked_is_found() -> None:
    """By its seq alone: what the decision says would be right at any balance."""
    story = told()
    place = row_of(story, "k11")
    row = story.snapshot.decided[place]
    assert row.outcome.source_seq is not None
    outcome = row.outcome._replace(source_seq=row.outcome.source_seq - 1)
    story.snapshot.decided[place] = replace(row, outcome=outcome)

    assert "replay" in broken(story)

"""Pausing and resuming."""

import pytest

from storage import partitions
from storage.partitions import NoSuchPartition
from tests.storage.conftest import Books


def test_a_pause_is_seen_by_all_and_says_who_and_why(books: Books):
    assert partitions.pause(books.engine, 3, "me", "looking into it")
    assert not partitions.pause(books.engine, 3, "you", "me too")

    assert partitions.is_paused(books.engine, 3)
    assert not partitions.is_paused(books.engine, 2)
    state = partitions.states(books.engine)[3]
    assert (state.pause_who, state.pause_reason) == ("me", "looking into it")
    assert partitions.resume(books.engine, 3, "me", "done")
    assert not partitions.resume(books.engine, 3, "me", "done")
    actions = books.rows("SELECT action, subject, reason FROM operator_actions ORDER BY id")
    assert actions == [
        ("partition.pause", "3", "looking into it"),
        ("partition.resume", "3", "done"),
    ]


def test_there_are_only_the_partitions_that_the_database_was_made_with(books: Books):
    assert [state.id for state in partitions.states(books.engine)] == list(range(8))
    with pytest.raises(NoSuchPartition):
        partitions.pause(books.engine, 8, "me", "a slip")

"""The table of mutations fits the code; running it is a command of its own."""

import pytest

from bench.torture.mutations import MUTATIONS, Mutation, mutated
from ops.stack.folder import CHECKOUT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_each_guard_is_where_the_table_says(mutation: Mutation) -> None:
    text = (CHECKOUT / mutation.path).read_text()

    assert mutated(mutation, text) != text
    compile(mutated(mutation, text), mutation.path, "exec")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_each_test_that_is_to_notice_exists(mutation: Mutation) -> None:
    path, _, name = mutation.caught_by.partition("::")

    assert f"def {name}" in (CHECKOUT / path).read_text()

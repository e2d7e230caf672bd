"""The whole stack of a checkout."""

import socket

import pytest

from ops.errors import OperatorError
from ops.stack.ports import HOST
from ops.stack.stack import Stack


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TEKANA_PARTITIONS", "16", "runs with 8 partitions, not with 16"),
        ("TEKANA_BATCH_SIZE", "many", "TEKANA_BATCH_SIZE"),
        ("TEKANA_BATCHSIZE", "5", "TEKANA_BATCHSIZE is no setting of ours"),
    ],
)
def test_another_up_with_settings_that_cannot_be_is_refused_and_changes_nothing(
    stack: Stack, variable: str, value: str, said: str
) -> None:
    before = stack.variables()

    with pytest.raises(OperatorError, match=said):
        Stack(stack.run.path, environment={variable: value}).up()

    assert Stack(stack.run.path, environment={}).variables() == before
    assert all(process.running() for process in stack.application())


def test_an_up_that_fails_late_leaves_the_settings_of_what_runs(stack: Stack) -> None:
    [flower] = [process for process in stack.application() if process.name == "flower"]
    flower.stop()
    before = stack.variables()

    with socket.create_server((HOST, 0)) as taken:
        wanted = {
            "TEKANA_FLOWER_PORT": str(taken.getsockname()[1]),
            "TEKANA_LINGER_MS": "5",
        }
        with pytest.raises(OperatorError, match="is taken"):
            Stack(stack.run.path, environment=wanted).up()

    assert Stack(stack.run.path, environment={}).variables() == before
    flower.start()

"""What the demo makes of the lines that its receiver prints."""

import json
from typing import Any

import pytest

from ops.demo import callbacks
from ops.demo.callbacks import Heard
from ops.demo.figures import Callbacks, Latency
from ops.demo.progress import Steps

RECEIVED_S = 1_764_000_000.5
SUCCEEDED = "instruction.succeeded"
DECIDED_AT = "2025-11-24T16:00:00.000Z"


def line(event: str, instruction: str, status: str = "succeeded", *, new: bool = True) -> str:
    told: dict[str, Any] = {
        "received_at": RECEIVED_S,
        "new": new,
        "id": event,
        "type": f"instruction.{status}",
        "data": {"id": instruction, "status": status, "decided_at": DECIDED_AT},
    }
    return json.dumps(told) + "\n"


def heard(*lines: str) -> Heard:
    made = Heard()
    made.listen(lines)
    return made


def test_one_event_of_the_right_type_for_each_instruction_is_as_it_should_be():
    told = heard(line("e1", "i1"), line("e2", "i2", "rejected"))

    assert told.differences({"i1": "succeeded", "i2": "rejected"}) == []
    assert told.figures() == Callbacks(2, 0, 0, Latency(2, 500.0, 500.0))


def test_a_repeat_is_counted_and_is_no_difference():
    told = heard(line("e1", "i1"), line("e1", "i1", new=False))

    assert told.differences({"i1": "succeeded"}) == []
    assert told.figures() == Callbacks(1, 1, 0, Latency(1, 500.0, 500.0))


@pytest.mark.parametrize(
    ("lines", "difference"),
    [
        ([], "instruction i1: succeeded, and by callback nothing"),
        (
            [line("e1", "i1", "rejected")],
            "instruction i1: succeeded, and by callback instruction.rejected",
        ),
        (
            [line("e1", "i1"), line("e2", "i1")],
            f"instruction i1: succeeded, and by callback {' and '.join(2 * [SUCCEEDED])}",
        ),
        (
            [line("e1", "i1"), line("e2", "i2")],
            "instruction i2: not of this run, and by callback instruction.succeeded",
        ),
        (
            [line("e1", "i1"), '{"received_at": 1, "refused": "no signature fits"}\n'],
            "callbacks: 1 refused by the receiver, no signature fits",
        ),
        ([line("e1", "i1"), "OSError: taken\n"], "receiver: OSError: taken"),
    ],
)
def test_whatever_else_comes_is_told(lines, difference):
    assert heard(*lines).differences({"i1": "succeeded"}) == [difference]


def test_waiting_ends_when_all_came_or_when_no_more_come(monkeypatch):
    monkeypatch.setattr(callbacks, "_PATIENCE_S", 0.1)
    told = heard(line("e1", "i1"))

    told.wait(1, Steps())
    told.wait(2, Steps())

    assert told.differences({"i1": "succeeded", "i2": "succeeded"}) == [
        "instruction i2: succeeded, and by callback nothing"
    ]

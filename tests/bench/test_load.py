"""The generator of load, which is no part of the project."""

import os
import shutil

import pytest

from bench.load import ensure_wrk
from ops.errors import OperatorError


def test_a_missing_generator_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found by a run on a fresh machine, which measured everything but what wrk loads."""
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(OperatorError, match="wrk is missing") as told:
        ensure_wrk()

    assert "apt-get install -y --no-install-recommends wrk" in str(told.value.__dict__)

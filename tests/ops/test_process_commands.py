"""What each process says when it is started with settings that do not fit."""

import subprocess
import sys

import pytest

from ops.stack.services import Services
from tests.support import fresh_database
from tests.workers.house import ROOT, environment


@pytest.mark.parametrize(
    "arguments",
    [("api",), ("worker", "ledger", "--partitions", "0"), ("worker", "inbox"), ("migrate",)],
)
def test_a_database_made_with_another_partition_count_is_told_in_one_line(
    services: Services, arguments: tuple[str, ...]
) -> None:
    settings = fresh_database(services, partitions=4)

    done = subprocess.run(
        [sys.executable, "-m", "ops", *arguments],
        cwd=ROOT,
        env=environment(settings) | {"TEKANA_PARTITIONS": "8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "Set TEKANA_PARTITIONS to the database's count" in done.stderr
    assert "Traceback" not in done.stderr

"""The process commands as an operator types them."""

import subprocess
import sys

import click
import pytest

from ops.commands.processes import Partitions
from tests.workers.house import ROOT, House, environment


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0-7", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("3", [3]),
        ("0-1, 6", [0, 1, 6]),
        ("5,4,4-5", [4, 5]),
    ],
)
def test_partitions_are_written_as_ranges(written: str, meant: list[int]) -> None:
    assert Partitions().convert(written, None, None) == meant


@pytest.mark.parametrize("written", ["", "a", "7-0", "-1", "1-", "1,,2", "0x1", "99999"])
def test_what_is_no_range_is_refused(written: str) -> None:
    with pytest.raises(click.BadParameter, match="is not like 0-7"):
        Partitions().convert(written, None, None)


def run(house: House, *arguments: str, **overrides: object) -> subprocess.CompletedProcess[str]:
    settings = house.settings.model_copy(update=overrides)
    return subprocess.run(
        [sys.executable, "-m", "ops", *arguments],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_worker_with_another_partition_count_than_the_database_refuses_to_start(
    house: House,
) -> None:
    done = run(house, "worker", "ledger", "--partitions", "0-3", partitions=4)

    assert done.returncode == 1
    assert "the database has 8 partitions, TEKANA_PARTITIONS says 4" in done.stderr


def test_a_partition_that_does_not_exist_is_refused(house: House) -> None:
    done = run(house, "worker", "ledger", "--partitions", "0-8")

    assert done.returncode == 2
    assert "there are partitions 0 to 7" in done.stderr


def test_migrate_may_be_run_again(house: House) -> None:
    done = run(house, "migrate")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "The database and the broker are ready.\n"


def test_a_callback_worker_without_keys_says_what_to_set(house: House) -> None:
    done = run(house, "worker", "callbacks", secret_keys=None)

    assert done.returncode == 1
    assert "Set TEKANA_SECRET_KEYS" in done.stderr
    assert "Traceback" not in done.stderr

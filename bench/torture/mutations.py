"""Break the guards on purpose, one at a time, and see that the tests notice.

    python -m bench.torture.mutations [NAME …]

Each change is made to a copy of the tree, where its tests are run; here nothing is touched. A
guard whose removal nothing notices would be a guard that is not tested. Prints the table of
docs/guarantees.md; exit code 1 if a change went unnoticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ops.stack.folder import CHECKOUT

_FAILED: Final = 1
"""pytest's exit code for tests that ran and failed; any other is no proof."""

_TIMEOUT_S: Final = 400


class Mutation(NamedTuple):
    """A guard taken out: in this file, this text becomes that one, and a test must notice."""

    name: str
    path: str
    old: str
    new: str
    caught_by: str


MUTATIONS: Final = (
    Mutation(
        "acknowledge before the commit",
        "workers/partition.py",
        "        decided = None\n        try:\n            decided = self._decide(batch)\n",
        "        decided = None\n        self._ack(batch[-1].tag)\n        try:\n"
        "            decided = self._decide(batch)\n",
        "tests/workers/test_partition.py::"
        "test_a_batch_is_one_transaction_and_one_acknowledgement_after_it",
    ),
    Mutation(
        "no lock on the partition",
        "storage/ledger.py",
        "    FROM pg_advisory_xact_lock(:space, :partition), partitions\n"
        "    WHERE id = :partition\n"
        "    FOR UPDATE OF partitions\n",
        "    FROM partitions\n    WHERE id = :partition AND CAST(:space AS integer) > 0\n",
        "tests/storage/test_ledger_guards.py::"
        "test_two_workers_of_one_partition_that_share_no_wallet_take_turns_all_the_same",
    ),
    Mutation(
        "wallets locked in no order",
        "storage/books.py",
        "    ORDER BY id\n    FOR NO KEY UPDATE\n",
        "    ORDER BY random()\n    FOR NO KEY UPDATE\n",
        "tests/storage/test_ledger_guards.py::"
        "test_a_batch_waits_for_its_first_wallet_before_it_locks_any_other",
    ),
    Mutation(
        "no fingerprint",
        "domain/posting.py",
        "same = past.fingerprint == instruction.fingerprint",
        "same = True",
        "tests/domain/test_posting.py::test_a_reused_key_makes_no_second_outcome",
    ),
    Mutation(
        "buffer kept on reconnect",
        "workers/step.py",
        "        channel.basic_consume(partition_queue",
        "        kept = vars(self.office.ledger).setdefault('kept', {})\n"
        "        lane.partition._held = kept.setdefault(lane.number, [])\n"
        "        channel.basic_consume(partition_queue",
        "tests/workers/test_reconnect.py::"
        "test_what_was_held_when_the_connection_was_lost_is_dropped",
    ),
    # The pause in it is the guard's absence made visible: what a cancelled consumer still holds
    # while the standby starts on later messages.
    Mutation(
        "basic.cancel on shutdown",
        "workers/step.py",
        "        for lane in self._lanes:\n            lane.partition = None\n",
        "        for lane in self._lanes:\n"
        "            for tag in list(lane.channel.callbacks):\n"
        "                lane.channel.basic_cancel(tag)\n"
        "            lane.partition = None\n"
        "        time.sleep(1)\n",
        "tests/workers/test_standby.py::"
        "test_sigterm_with_a_backlog_hands_over_to_the_standby_in_order",
    ),
    Mutation(
        "any confirm taken for one's own",
        "producers/confirms.py",
        "elif not self._settle(tag, reason):",
        "elif not self._settle(min(self._sent), reason):",
        "tests/producers/test_confirms.py::test_an_ack_confirms_its_own_message_only",
    ),
    Mutation(
        "outbox in a transaction after the ledger's",
        "storage/ledger.py",
        "    written = events.write(connection, told, now)\n",
        '    connection.exec_driver_sql("COMMIT")\n'
        "    with connection.engine.begin() as later:\n"
        "        written = events.write(later, told, now)\n",
        "tests/storage/test_ledger_guards.py::test_what_nobody_could_be_told_of_is_not_decided",
    ),
    Mutation(
        "verify does not look at seq",
        "storage/verify.py",
        "bool_and(seq = place) AS counted",
        "bool_and(true) AS counted",
        "tests/ops/test_verify_command.py::test_what_is_broken_is_named",
    ),
    Mutation(
        "the checker does not look at seq",
        "bench/torture/replay.py",
        "            if seq and seq not in self.balances.get(source_id, {}):\n"
        '                return Books(), f"saw entry {seq} of {source_id}, which there is not"\n'
        "            if seq < self.reached.get(source_id, 0):\n",
        "            if seq and seq not in self.balances.get(source_id, {}):\n"
        '                return Books(), f"saw entry {seq} of {source_id}, which there is not"\n'
        "            if False:\n",
        "tests/torture/test_checker.py::test_a_debit_that_was_overlooked_is_found",
    ),
)


def main(names: Sequence[str]) -> int:
    """Try the changes of these names, or all; the exit code."""
    chosen = [each for each in MUTATIONS if not names or each.name in names]
    if len(chosen) < len(names):
        print(f"There are: {', '.join(each.name for each in MUTATIONS)}", file=sys.stderr)
        return 2
    print("| guard taken out | where | noticed by | result |\n| --- | --- | --- | --- |")
    unnoticed = 0
    for mutation in chosen:
        caught, took_s = _try(mutation)
        unnoticed += not caught
        result = f"caught in {took_s:.0f} s" if caught else "**NOT CAUGHT**"
        print(f"| {mutation.name} | `{mutation.path}` | `{mutation.caught_by}` | {result} |")
        sys.stdout.flush()
    return 1 if unnoticed else 0


def mutated(mutation: Mutation, text: str) -> str:
    """The file's text with the guard taken out. Raises: ValueError if it is not there once."""
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.path} does not hold the guard of {mutation.name!r} once")
    return text.replace(mutation.old, mutation.new)


def _try(mutation: Mutation) -> tuple[bool, float]:
    """Whether the test fails without the guard, and the seconds that it took."""
    with tempfile.TemporaryDirectory(prefix="tekana-mutation-", dir="/var/tmp") as place:
        tree = Path(place) / "tree"
        _copy(tree)
        file = tree / mutation.path
        file.write_text(mutated(mutation, file.read_text()))
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", mutation.caught_by],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        return done.returncode == _FAILED, time.monotonic() - begun


def _copy(tree: Path) -> None:
    """The files of the checkout that matter to Python and its tests."""
    left_out = shutil.ignore_patterns(".git", ".venv*", ".run", "__pycache__", ".*_cache", "*.pyc")
    shutil.copytree(CHECKOUT, tree, ignore=left_out, symlinks=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

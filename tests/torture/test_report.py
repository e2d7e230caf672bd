"""The figures of a run count what happened, and nothing else."""

from pathlib import Path

from click.testing import CliRunner

from bench.torture.case import Violation
from bench.torture.journal import Journal
from bench.torture.report import failure, summary, to_json
from bench.torture.run import Options, Result, Round, Struck
from ops.commands.torture import torture
from tests.bookkeeping import wallet_id
from tests.torture.spoilers import ALICE, told
from tests.torture.story import Story


def result_of(story: Story, *rounds: Round) -> Result:
    story.ordered()
    options = Options(minutes=1, seed=7, kinds=[], per_s=100)
    return Result(
        options,
        "2026-11-28T12:00:00+00:00",
        {"cpus": 2},
        rounds=list(rounds),
        journal=story.journal,
        books=story.snapshot,
    )


def test_a_strike_that_met_nothing_is_no_fault_that_was_survived() -> None:
    hit = Struck(1, "redis.kill", "", 1.0, 2.0)
    missed = Struck(1, "postgres.terminate", "no transaction was open", 1.0, 6.0, missed=True)
    made = Round(1, [hit, missed], back_s=0.5, back_http_s=0.5, back_partner_s=0.4, patience_s=5.0)

    stored = to_json(result_of(told(), made))

    assert stored["counts"]["faults"] == 1
    assert stored["counts"]["missed"] == 1
    assert set(stored["kinds"]) == {"redis.kill"}
    assert "1 faults of 1 kinds in 1 rounds, and 1 that met nothing to break" in summary(stored)


def test_what_was_sent_is_counted_by_what_became_of_it() -> None:
    counts = to_json(result_of(told()))["counts"]

    assert (counts["sent"], counts["accepted"], counts["decided"]) == (13, 13, 13)
    assert counts["succeeded"] + counts["rejected"] == 13


def test_a_broken_promise_comes_with_what_repeats_and_explains_it(tmp_path: Path) -> None:
    result = result_of(told())
    result.options = Options(minutes=3, seed=7, kinds=["redis.", "ledger.kill"], per_s=100)
    result.violations.append(Violation("lost", wallet_id(ALICE), "gone"))

    said = failure(result, tmp_path / "kept")

    assert f"lost: {wallet_id(ALICE)}: gone" in said
    assert f"History of wallet {wallet_id(ALICE)}:" in said
    assert "k6 transfer succeeded" in said
    assert "./tekana torture --minutes 3 --seed 7 --rate 100 --faults redis.,ledger.kill" in said
    assert Journal.load(tmp_path / "kept" / "journal-7.jsonl") == result.journal
    assert (tmp_path / "kept" / "broken-7.txt").read_text() == f"{said}\n"


def test_a_fault_that_there_is_not_is_refused_with_the_names_of_those_there_are() -> None:
    done = CliRunner().invoke(torture, ["--faults", "redis.kill,coffee"])

    assert done.exit_code == 2
    assert "no fault begins with coffee" in done.output
    assert "postgres.disk-full" in done.output

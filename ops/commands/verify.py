"""verify: prove the books."""

import sys
from typing import TYPE_CHECKING, Final

import click

from ops.database import database
from ops.options import as_json

if TYPE_CHECKING:
    from storage.verify import Verdict

_NAMED_AT_MOST: Final = 100


@click.command()
@as_json
def verify(as_json: bool) -> None:
    """Prove the books: every balance equals its entries, and much more; exit 1 if not.

    Sequences have no gaps, every currency sums to zero, nothing is below its floor, every
    partition's places are 1, 2, 3 and so on, and money came in and went out through settlement
    accounts alone. The system may be running: what is checked is
    the state of one moment.
    """
    from ops.show import show_json
    from storage.verify import verify as check

    with database() as engine:
        verdict = check(engine, _NAMED_AT_MOST)
    if as_json:
        show_json({"sound": verdict.sound, "counts": verdict.counts, "findings": verdict.findings})
    else:
        _show(verdict)
    if not verdict.sound:
        sys.exit(1)


def _show(verdict: "Verdict") -> None:
    from ops.show import show_table

    counts = ", ".join(f"{count:,} {name}" for name, count in verdict.counts.items())
    click.echo(f"Looked at {counts}.")
    if verdict.sound:
        click.echo(
            "The books are sound: balances equal their entries, sequences have no gaps, every "
            "currency sums to zero, nothing is below its floor, every partition is whole, and "
            "money came and went through settlement accounts alone."
        )
        return
    show_table(
        ("subject", "what is wrong"),
        ((finding.subject, finding.fault) for finding in verdict.findings),
        empty="",
    )
    for kind in ("wallet", "instruction"):
        named = sum(finding.subject.startswith(f"{kind} ") for finding in verdict.findings)
        if named == _NAMED_AT_MOST:
            click.echo(f"Only the first {_NAMED_AT_MOST} {kind}s are named; there may be more.")
    click.echo(
        "The books are NOT sound. Pause the partitions, keep the database as it is, and find out "
        "why before anything is mended.",
        err=True,
    )

"""torture: break every part under load, then prove that nothing was lost, doubled or reordered."""

import json
import os
import sys
from pathlib import Path

import click


@click.command()
@click.option("--minutes", type=click.FloatRange(0.1, 24 * 60), default=3.0, show_default=True)
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Draws traffic and faults. Without: any, and it is told.",
)
@click.option("--faults", help="Only kinds that begin so, such as postgres,ledger.kill.")
@click.option(
    "--rate",
    type=click.FloatRange(1),
    default=250.0,
    show_default=True,
    help="Instructions a second.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also write everything to this file.",
)
def torture(
    minutes: float, seed: int | None, faults: str | None, rate: float, json_path: Path | None
) -> None:
    """Break a private stack on purpose, under load, and judge what it did.

    Exit code 1 if any promise was broken: then the seed, the schedule, the history of the
    wallets concerned and the command that repeats the run are told.
    """
    import secrets

    from bench.clock import Clock
    from bench.progress import Steps
    from bench.torture import report
    from bench.torture.run import Options, run, table
    from ops.stack.folder import DEFAULT_RUN_FOLDER
    from ops.stack.signals import ending_interrupts

    kinds = [kind.strip() for kind in (faults or "").split(",") if kind.strip()]
    known = table(with_disk=True, with_clock=True)
    for kind in kinds:
        if not any(each.startswith(kind) for each in known):
            raise click.BadParameter(
                f"no fault begins with {kind}; there are {', '.join(known)}", param_hint="--faults"
            )
    options = Options(minutes, secrets.randbelow(10**6) if seed is None else seed, kinds, rate)
    with ending_interrupts(), Steps(Clock(minutes * 60 + 120)) as steps:
        result = run(options, DEFAULT_RUN_FOLDER / f"torture-{os.getpid()}", steps)
    stored = report.to_json(result)
    if json_path is not None:
        json_path.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    click.echo(report.summary(stored))
    if result.violations:
        folder = DEFAULT_RUN_FOLDER / "torture-failed"
        click.echo(report.failure(result, folder), err=True)
        sys.exit(1)

"""bench: the speed figures, each as a ratio to a peer that was measured in the same minute."""

import json
import os
import sys
from pathlib import Path

import click


@click.command()
@click.option("--quick", is_flag=True, help="Fewer and shorter samples: at most 3 minutes, not 20.")
@click.option("--smoke", is_flag=True, hidden=True, help="Only see that it runs.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also write everything, every sample included, to this file.",
)
def bench(quick: bool, smoke: bool, json_path: Path | None) -> None:
    """Measure the speed figures on a stack of their own, then verify the books.

    Exit code 0 when everything was measured and the books are sound, whichever targets were
    missed: the table says so.
    """
    from rich.console import Console

    from bench import report, sizes
    from bench.run import run
    from ops.stack.folder import DEFAULT_RUN_FOLDER
    from ops.stack.signals import ending_interrupts

    if quick and smoke:
        raise click.UsageError("--quick and --smoke exclude each other.")
    if json_path is not None and not json_path.parent.is_dir():
        # Nobody should learn of it after twenty minutes.
        raise click.BadParameter(f"there is no folder {json_path.parent}", param_hint="--json")
    size = sizes.SMOKE if smoke else sizes.QUICK if quick else sizes.FULL
    # Where nothing is really measured, nobody has to be alone.
    folder = f"bench-smoke-{os.getpid()}" if smoke else "bench"
    with ending_interrupts():
        found = run(size, DEFAULT_RUN_FOLDER / folder)
    stored = found.to_json()
    if json_path is not None:
        json_path.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    console = Console()
    if not console.is_terminal:
        # A program reads it, or a file keeps it: there is no edge to break lines at.
        console.width = 10_000
    report.show(stored, console)
    if found.failed:
        sys.exit(1)

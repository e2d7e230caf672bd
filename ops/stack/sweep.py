"""Run folders that belong to one process, such as a test run, and end with it."""

import json
from pathlib import Path

from ops.stack.folder import CLAIM, RunFolder
from ops.stack.processes import ManagedProcess, is_alive, own_identity


def claim(folder: Path) -> None:
    """Make the folder and note that it belongs to this process."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    # Never seen half written: whoever sweeps would take its owner for dead.
    fresh = folder / f"{CLAIM}.new"
    fresh.write_text(json.dumps(own_identity()))
    fresh.replace(folder / CLAIM)


def sweep(parent: Path) -> None:
    """Stop and remove what processes that were killed left below this folder."""
    for claimed in parent.glob(f"*/{CLAIM}"):
        try:
            if is_alive(json.loads(claimed.read_text())):
                continue
        except (ValueError, KeyError):
            pass  # Killed while it wrote its claim: it is gone all the same.
        for record in claimed.parent.glob("processes/*.json"):
            ManagedProcess(record.stem, claimed.parent).kill()
        RunFolder(claimed.parent).purge()

"""`python -m bench.without_outbox PARTITIONS`: a ledger worker that tells nobody of anything.

It is the ledger worker but for the statement that writes the outbox, whose cost is measured by
leaving it out. No setting of the product's does that.
"""

import sys
from typing import NoReturn

from config.settings import Settings
from ops.commands.processes import Partitions
from storage import events
from workers.ledger import run_ledger_worker


def run(partitions: str) -> NoReturn:
    """Consume these partitions until SIGTERM."""
    for name in ("telling", "write"):
        setattr(events, name, _nothing)
    run_ledger_worker(Settings.from_env(), Partitions().convert(partitions, None, None))


def _nothing(*_: object) -> None:
    """What there is to hand on, as `storage.events.write` returns it."""


if __name__ == "__main__":
    run(sys.argv[1])

"""pgbench, the load that comes with Postgres: what this machine's Postgres can do row by row."""

import re
import subprocess
from typing import Final

from bench.ground import Ground
from ops.errors import OperatorError

DATABASE: Final = "pgbench"
CLIENTS: Final = 32
THREADS: Final = 2

_SPEED: Final = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)$", re.MULTILINE)


class Pgbench:
    """A database that pgbench fills and runs its simple updates in."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        program = ground.services.postgres.programs.paths["postgres"].with_name("pgbench")
        if not program.exists():
            raise OperatorError(
                f"pgbench is not beside Postgres in {program.parent}.",
                "Install your distribution's package of PostgreSQL's contributed programs.",
            )
        self._program = program

    def fill(self, scale: int) -> None:
        """Make its database: 100,000 accounts for each step of the scale."""
        self._ground.create_database(DATABASE)
        self._run("--initialize", "--quiet", "--scale", str(scale))

    def per_s(self, seconds: float) -> float:
        """Transactions a second of `pgbench -N`: update an account, read it, note it, commit."""
        self._ground.settle()
        said = self._run(
            *("--skip-some-updates", "--no-vacuum"),
            *("--client", str(CLIENTS), "--jobs", str(THREADS)),
            *("--time", str(max(1, round(seconds)))),
        )
        found = _SPEED.search(said)
        if found is None:
            raise OperatorError("pgbench does not say how fast it was.", detail=said)
        return float(found[1])

    def _run(self, *arguments: str) -> str:
        url = self._ground.database_url(DATABASE)
        done = subprocess.run(
            [str(self._program), *arguments, url], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise OperatorError("pgbench failed.", detail=done.stderr)
        return done.stdout

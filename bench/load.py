"""Load over HTTP from `wrk`, which takes the least of the two cores for itself.

It runs on the same machine as everything else, for the API and for its peer alike.
"""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.transfers import wallet_id
from ops.errors import OperatorError
from ops.stack.install import install_packages

CONNECTIONS: Final = 32
_THREADS: Final = 2
_SCRIPTS: Final = Path(__file__).parent / "wrk"


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw: answers, how many of them were not 2xx, and what got none."""

    requests: int
    seconds: float
    not_2xx: int
    broken: int

    @property
    def accepted(self) -> int:
        """Answers of the kind one hopes for."""
        return self.requests - self.not_2xx


class Wrk:
    """Runs wrk with one of our scripts, from 32 connections."""

    def __init__(self, folder: Path, api_key: str, wallets: Iterable[int]) -> None:
        """`wallets` are drawn from; their ids are written to a file in `folder`."""
        self._program = ensure_wrk()
        self._wallets = folder / "wallets.txt"
        self._wallets.write_text("".join(f"{wallet_id(number)}\n" for number in wallets))
        self._environment = {
            **os.environ,
            "BENCH_WRK": str(_SCRIPTS),
            "BENCH_API_KEY": api_key,
        }

    def run(self, script: str, url: str, seconds: float) -> Load:
        """Ask for `url` as fast as it answers."""
        prefix = f"{secrets.token_hex(4)}-"
        arguments = [str(self._wallets), prefix, str(secrets.randbelow(2**31))]
        done = subprocess.run(
            [
                *(self._program, "--threads", str(_THREADS), "--connections", str(CONNECTIONS)),
                *("--duration", f"{max(1, round(seconds))}s", "--timeout", "10s"),
                *("--script", str(_SCRIPTS / f"{script}.lua"), url, "--", *arguments),
            ],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = done.stdout.splitlines()
        if done.returncode != 0 or not lines or not lines[-1].startswith("{"):
            raise OperatorError("wrk failed.", detail=done.stdout + done.stderr)
        said = json.loads(lines[-1])
        load = Load(said["requests"], said["duration_us"] / 1e6, said["not_2xx"], said["broken"])
        if not load.accepted:
            raise OperatorError(f"{url} accepted none of {load.requests} requests.")
        return load


def ensure_wrk() -> str:
    """The program; installed with apt if it is missing and we may.

    Raises: OperatorError.
    """
    found = shutil.which("wrk")
    if found is None:
        install_packages("wrk")
        found = shutil.which("wrk")
    if found is None:
        raise OperatorError("wrk was installed, but it is not on the PATH.")
    return found

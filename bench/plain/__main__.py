"""The plain design's worker: `python -m bench.plain`, told by PLAIN_* variables where to work."""

import os
from typing import Final

from bench.plain.app import plain_app

PROCESSES: Final = 4
"""Of 1, 2, 4 and 8 the best on two cores: while one waits for its commit, others work."""

if __name__ == "__main__":
    app = plain_app(*(os.environ[f"PLAIN_{name}_URL"] for name in ("BROKER", "REDIS", "DATABASE")))
    processes = os.environ.get("PLAIN_PROCESSES", str(PROCESSES))
    options = ("--pool=prefork", f"--concurrency={processes}", "--loglevel=WARNING")
    app.worker_main(["worker", *options, "--without-gossip", "--without-mingle"])

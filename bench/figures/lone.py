"""One transfer with nobody else about: from POST to outcome, in one request that waits for it."""

import json
import time
from http.client import HTTPConnection
from typing import Final

import psycopg2

from bench.bench import Bench
from bench.ground import Ground
from bench.results import Figure, Target, percentile
from bench.transfers import Transfers, uniform
from ops.errors import OperatorError
from ops.stack.ports import HOST

LONE: Final = "lone transfer, POST to outcome, p50"
NAMES: Final = (LONE,)

_COMMIT: Final = "single-row commit, p50"
_WAIT_S: Final = 5


def measure(bench: Bench, port: int, end_s: float) -> list[Figure]:
    """Sequential POSTs over one connection, beside sequential commits over one connection."""
    posts = bench.sizes.lone_posts
    poster = _Poster(bench, HTTPConnection(HOST, port, timeout=2 * _WAIT_S))
    commits = _Commits(bench.ground)
    for warm_up in (poster.p50_ms, commits.p50_ms):
        warm_up(posts)
    found = bench.interleaved(
        {LONE: lambda: poster.p50_ms(posts), _COMMIT: lambda: commits.p50_ms(posts)},
        end_s=end_s,
    )
    commits.close()
    target = Target("ratio", "at most", 40)
    note = f"`Prefer: wait`, {posts} in a row over one connection, all succeeded"
    return [Figure(LONE, "ms", found[LONE], target, _COMMIT, found[_COMMIT], note)]


class _Poster:
    """Posts one transfer after the other."""

    def __init__(self, bench: Bench, connection: HTTPConnection) -> None:
        self._connection = connection
        self._transfers: Transfers = bench.transfers()
        self._draw = uniform(bench.sizes.wallets, bench.chance)
        self._headers = {
            "Authorization": f"Bearer {bench.ground.api_key}",
            "Content-Type": "application/json",
            "Prefer": f"wait={_WAIT_S}",
        }

    def p50_ms(self, count: int) -> float:
        """Half of so many took no longer. Raises: OperatorError if one has no outcome."""
        bodies = [
            json.dumps(self._transfers.data(self._draw, self._draw)).encode() for _ in range(count)
        ]
        return percentile([self._post(body) for body in bodies], 50)

    def _post(self, body: bytes) -> float:
        headers = self._headers | {"Idempotency-Key": self._transfers.key()}
        begun = time.perf_counter()
        self._connection.request("POST", "/v1/transfers", body, headers)
        answer = self._connection.getresponse()
        said = answer.read()
        took_ms = (time.perf_counter() - begun) * 1000
        if answer.status != 200 or json.loads(said)["status"] != "succeeded":
            raise OperatorError(f"A lone transfer was answered {answer.status}, not decided.")
        return took_ms


class _Commits:
    """Commits one row after the other to a table of nothing else: what durability costs."""

    def __init__(self, ground: Ground) -> None:
        self._connection = psycopg2.connect(ground.database_url("postgres"), connect_timeout=5)
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        self._cursor.execute(
            "CREATE TABLE single_rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
            "amount bigint NOT NULL)"
        )

    def p50_ms(self, count: int) -> float:
        """Half of so many took no longer."""
        return percentile([self._commit(number) for number in range(count)], 50)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _commit(self, amount: int) -> float:
        begun = time.perf_counter()
        self._cursor.execute("INSERT INTO single_rows (amount) VALUES (%s)", (amount,))
        return (time.perf_counter() - begun) * 1000

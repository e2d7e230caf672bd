"""Everything at once, at half of what the intake takes: how long until the outcome is there."""

import gc
import json
import time
from typing import Final

from bench.announced import Announced
from bench.bench import Bench
from bench.figures.intake import SINGLE
from bench.open_loop import Post, Sent, send
from bench.results import Figure, Target, percentile
from bench.transfers import uniform
from domain.identity import instruction_id
from ops.errors import OperatorError
from ops.stack.ports import HOST

P99: Final = "open loop, POST to outcome, p99"
REFUSED: Final = "open loop, refused"
NAMES: Final = (P99, REFUSED)

_CONNECTIONS: Final = 64
_WARM_UP_S: Final = 2.0
_PATIENCE_S: Final = 30.0


def measure(bench: Bench, port: int) -> list[Figure]:
    """POSTs on a fixed schedule, each timed from when it was due until workers tell of it.

    Raises: OperatorError if something that was accepted gets no outcome, or if this run has
    no figure of the intake.
    """
    intake = bench.known(SINGLE)
    if intake is None:
        raise OperatorError("There is no figure of the intake to take half of.")
    per_s, seconds = intake.value / 2, bench.sizes.open_loop_s
    send(HOST, port, _posts(bench, int(_WARM_UP_S * per_s)), per_s, _CONNECTIONS)
    posts = _posts(bench, int(seconds * per_s))
    with (
        Announced(bench.ground.services.redis_url) as announced,
        bench.steps.step(f"open loop, {per_s:,.0f} a second for {seconds:.0f} s"),
    ):
        # A pause of the collector here would be counted as the server's.
        gc.freeze()
        sent = send(HOST, port, posts, per_s, _CONNECTIONS)
        gc.unfreeze()
        delays_ms = _delays_ms(sent, announced)
    p50, p999 = (percentile(delays_ms, percent) for percent in (50, 99.9))
    return [
        Figure(
            P99,
            "ms",
            [percentile(delays_ms, 99)],
            Target("value", "at most", 250),
            note=f"half of the intake, {per_s:,.0f}/s, for {seconds:.0f} s; p50 {p50:.0f} ms, "
            f"p99.9 {p999:.0f} ms; from when each was due, Flower on",
        ),
        Figure(REFUSED, "requests", [sent.refused], Target("value", "at most", 0)),
    ]


def _posts(bench: Bench, count: int) -> list[Post]:
    """Requests over HTTP/1.1, complete to the last byte."""
    transfers = bench.transfers()
    draw = uniform(bench.sizes.wallets, bench.chance)
    made = []
    for _ in range(count):
        key = transfers.key()
        body = json.dumps(transfers.data(draw, draw)).encode()
        head = (
            "POST /v1/transfers HTTP/1.1\r\n"
            f"Host: {HOST}\r\n"
            f"Authorization: Bearer {bench.ground.api_key}\r\n"
            "Content-Type: application/json\r\n"
            f"Idempotency-Key: {key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        made.append(Post(instruction_id(transfers.client_id, key), head.encode() + body))
    return made


def _delays_ms(sent: Sent, announced: Announced) -> list[float]:
    """From when each was due until its outcome was told of."""
    until = time.monotonic() + _PATIENCE_S
    while missing := len(sent.due_at.keys() - announced.at.keys()):
        if time.monotonic() > until:
            raise OperatorError(f"{missing} accepted transfers have no outcome.")
        # Their times are noted by another thread, so looking seldom changes none.
        time.sleep(0.05)
    return [(announced.at[each] - due) * 1000 for each, due in sent.due_at.items()]

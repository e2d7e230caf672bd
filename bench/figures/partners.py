"""Partners: from their inbox to the ledger, and how long until they have a receipt.

Messages are published by the project's publisher, which is no slower than a partner's client.
"""

import time
from typing import Final

from bench.bench import Bench
from bench.books import instructions_count
from bench.figures.drain import DRAIN, drained
from bench.partner import BenchPartner
from bench.results import Figure, Target, percentile
from bench.waiting import Waiting
from ops.errors import OperatorError
from storage.partners import DEFAULT_RATE_PER_S

THROUGH: Final = "partner, inbox to committed"
RECEIPT: Final = "partner, publish to receipt, p99"
FLOODED: Final = "partner beside one that floods, receipt p99"
NAMES: Final = (THROUGH, RECEIPT, FLOODED)

_ALONE: Final = "the same partner alone"
_PER_S: Final = 500.0
_UNBOUND_PER_S: Final = 1_000_000
_WARM_UP: Final = 500
_POLL_S: Final = 0.02
_PATIENCE_S: Final = 60.0


def measure(bench: Bench, end_s: float) -> list[Figure]:
    """First the whole way of a backlog, then receipts on a schedule, alone and beside a flood.

    Raises: OperatorError if something that was published gets no receipt or no outcome.
    """
    busy = BenchPartner(bench, None, _UNBOUND_PER_S)
    quiet = BenchPartner(bench, "bench-quiet", _UNBOUND_PER_S)
    loud = BenchPartner(bench, "bench-loud", DEFAULT_RATE_PER_S)
    rounds = bench.sizes.partner_rounds
    waiting, share_s = Waiting(bench), (end_s - bench.clock.passed_s) / 2
    found = bench.interleaved(
        {
            THROUGH: lambda: _through_per_s(bench, busy),
            DRAIN: drained(bench, waiting, flower=True),
        },
        end_s=end_s - share_s,
        rounds=rounds,
    )
    waiting.close()
    receipts = _receipts_p99_ms(bench, quiet, loud, end_s)
    for partner in (busy, quiet, loud):
        partner.close()
    sizes = bench.sizes
    return [
        Figure(
            THROUGH,
            "transfers/s",
            found[THROUGH],
            Target("ratio", "at least", 0.4),
            DRAIN,
            found[DRAIN],
            f"{sizes.partner_messages:,} waiting in an inbox; one inbox worker, two ledger workers",
        ),
        Figure(
            RECEIPT,
            "ms",
            receipts[RECEIPT],
            Target("value", "at most", 250),
            note=f"{_PER_S:.0f}/s for {sizes.partner_s:.0f} s, from when each was due",
        ),
        Figure(
            FLOODED,
            "ms",
            receipts[FLOODED],
            Target("ratio", "at most", 2),
            _ALONE,
            receipts[RECEIPT],
            f"{sizes.partner_flood:,} waiting in another's inbox, of whom the usual "
            f"{DEFAULT_RATE_PER_S:,}/s are taken",
        ),
    ]


def _through_per_s(bench: Bench, partner: BenchPartner) -> float:
    """Transfers committed a second, from the first that is seen to the last."""
    ground, count = bench.ground, bench.sizes.partner_messages
    partner.publish(partner.messages(count))
    ground.settle()
    with ground.operator() as engine:
        before = instructions_count(engine)
        with ground.running(*ground.workers(), ground.inbox()):
            first = last = 0
            begun = ended = time.perf_counter()
            until = time.monotonic() + _PATIENCE_S
            while last < count:
                if time.monotonic() > until:
                    raise OperatorError(f"{count - last} of a partner's messages are not decided.")
                # A commit tells nobody; to look more often would take from what is measured.
                time.sleep(_POLL_S)
                now = instructions_count(engine) - before
                if now > last:
                    ended = time.perf_counter()
                    if not first:
                        first, begun = now, ended
                    last = now
    # A handful may be decided within one look.
    return (last - first) / (ended - begun) if ended > begun else last / _POLL_S


def _receipts_p99_ms(
    bench: Bench, quiet: BenchPartner, loud: BenchPartner, end_s: float
) -> dict[str, list[float]]:
    """How long the quiet one waits for its receipts, alone and beside the loud one's flood."""
    ground, sizes = bench.ground, bench.sizes
    count = int(_PER_S * sizes.partner_s)

    def alone() -> float:
        messages = quiet.messages(count)
        ground.settle()
        # Whoever writes first after a checkpoint pays for it.
        quiet.receipts_ms(quiet.messages(_WARM_UP), _PER_S)
        return percentile(quiet.receipts_ms(messages, _PER_S), 99)

    def beside() -> float:
        loud.fill(sizes.partner_flood)
        loud.join()
        try:
            return alone()
        finally:
            loud.leave()

    # The flood comes once. What is measured is that it waits, not how the broker stores it.
    loud.leave()
    loud.fill(sizes.partner_flood)
    with ground.running(*ground.workers(), ground.inbox()):
        return bench.interleaved(
            {RECEIPT: alone, FLOODED: beside}, end_s=end_s, rounds=sizes.partner_rounds
        )

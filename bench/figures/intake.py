"""The intake: what the API accepts, confirmed by a quorum queue, while no worker runs.

What was accepted is decided afterwards and counted: nothing of it may be missing.
"""

from typing import Final

from bench.bench import Bench
from bench.figures.store import UNIFORM as STORE
from bench.figures.store import Store
from bench.ground import BenchServer, Ground, Variables
from bench.load import CONNECTIONS, Wrk
from bench.results import Figure, Target
from bench.transfers import uniform
from ops.errors import OperatorError
from ops.stack.ports import accepts

SINGLE: Final = "intake, single POSTs"
BATCHES: Final = "intake, batches of 100"
NAMES: Final = (SINGLE, BATCHES)

_HELLO: Final = "Flask hello"
_BATCH_ITEMS: Final = 100
_WARM_UP_S: Final = 1.0
_DRAWN_FROM: Final = 100_000
"""wrk draws from so many of the wallets: it keeps their ids in each thread."""


def measure(bench: Bench, end_s: float) -> list[Figure]:
    """The API with authentication, validation, notes and confirms, beside a bare Flask."""
    ground, seconds, wallets = bench.ground, bench.sizes.intake_s, bench.sizes.wallets
    wrk = Wrk(ground.folder, ground.api_key, range(0, wallets, max(1, wallets // _DRAWN_FROM)))
    store = Store(bench)
    draw = uniform(wallets, bench.chance)
    api, hello = ground.api(), _hello(ground)
    before = store.extent()[0]
    with ground.running(api, hello):
        single = Door(wrk, "single", f"{api.url}/v1/transfers", 1)
        batches = Door(wrk, "batch", f"{api.url}/v1/batches", _BATCH_ITEMS)
        said_hello = Door(wrk, "hello", f"{hello.url}/", 1)
        doors = (single, said_hello, batches)
        if seconds > _WARM_UP_S:
            with bench.steps.step("intake: warming up"):
                for door in doors:
                    door.per_s(_WARM_UP_S)
        found = bench.interleaved(
            {
                SINGLE: lambda: single.per_s(seconds),
                _HELLO: lambda: said_hello.per_s(seconds),
                BATCHES: lambda: batches.per_s(seconds),
                STORE: store.sample(draw, draw),
            },
            end_s=end_s,
        )
    with bench.steps.step("intake: everything accepted is decided"):
        _decide_all(bench, before + store.decided, single, batches)
    store.close()
    return [
        Figure(
            SINGLE,
            "transfers/s",
            found[SINGLE],
            Target("ratio", "at least", 0.12),
            _HELLO,
            found[_HELLO],
            _note(single),
        ),
        Figure(
            BATCHES,
            "transfers/s",
            found[BATCHES],
            Target("ratio", "at least", 0.5),
            STORE,
            found[STORE],
            _note(batches),
        ),
    ]


class Door:
    """One way in, loaded by wrk, with the sum of what was accepted there."""

    def __init__(self, wrk: Wrk, script: str, url: str, items: int) -> None:
        self._wrk = wrk
        self._script = script
        self._url = url
        self._items = items
        self.accepted = 0
        self.refused = 0
        self.unanswered_most = 0
        """Instructions in requests that were under way when a run ended: accepted or not."""

    def per_s(self, seconds: float) -> float:
        """Accepted instructions a second."""
        load = self._wrk.run(self._script, self._url, seconds)
        self.accepted += load.accepted * self._items
        self.refused += load.not_2xx + load.broken
        self.unanswered_most += (CONNECTIONS + load.broken) * self._items
        return load.accepted * self._items / load.seconds


def _decide_all(bench: Bench, before: int, *doors: Door) -> None:
    """Let the workers decide what waits, and count it. Raises: OperatorError if any is lost."""
    accepted = sum(door.accepted for door in doors)
    with bench.ground.running(*bench.ground.workers()):
        decided = bench.ground.decided_all(before + accepted) - before
    if not accepted <= decided <= accepted + sum(door.unanswered_most for door in doors):
        raise OperatorError(
            f"The API accepted {accepted:,} instructions, but {decided:,} were decided."
        )


def _note(door: Door) -> str:
    refused = f", {door.refused} requests refused" if door.refused else ", none refused"
    return f"{CONNECTIONS} connections; {door.accepted:,} accepted and all decided{refused}"


def _hello(ground: Ground) -> BenchServer:
    def variables() -> Variables:
        return ground.variables(api_port="hello")

    def answers() -> bool:
        return accepts(server.port("http"))

    server = BenchServer("hello", ground, ["bench.hello_server"], variables, answers)
    return server

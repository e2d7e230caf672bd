"""The store once ten million transfers lie in it, beside one that is empty."""

from typing import Final

from bench.bench import Bench
from bench.books import open_wallets
from bench.figures.store import Store
from bench.history import write_history
from bench.results import Figure, Target
from bench.transfers import uniform

AGED: Final = "store after ten million transfers"
NAMES: Final = (AGED,)
DATABASE: Final = "aged"

_EMPTY: Final = "store when empty"
_EMPTY_DATABASE: Final = "empty"
_ROUNDS: Final = 5

_FIRST_TOUCHES: Final = 130_000
"""After a checkpoint the first touch of each page writes the whole page to the log, and three
indexes of ten million rows have 150,000 pages. So many transfers touch nine in ten of them, and
what is measured is the time between two checkpoints and not the seconds behind one."""


def measure(bench: Bench, end_s: float) -> list[Figure]:
    """Two ledgers with the same wallets, one of them with a past."""
    ground, wallets, transfers = bench.ground, bench.sizes.wallets, bench.sizes.aged_transfers
    with bench.steps.step("an empty ledger, and a copy of it"):
        ground.create_database(_EMPTY_DATABASE)
        client_id, _ = ground.make_books(_EMPTY_DATABASE)
        with ground.operator(_EMPTY_DATABASE) as engine:
            open_wallets(engine, client_id, wallets)
        ground.create_database(DATABASE, _EMPTY_DATABASE)
    with ground.operator(DATABASE) as engine, bench.steps.step("writing its past"):
        write_history(
            engine,
            client_id,
            wallets,
            transfers,
            lambda count: bench.steps.say(f"  {count:,} of {transfers:,} transfers"),
        )
    aged, empty = Store(bench, DATABASE), Store(bench, _EMPTY_DATABASE)
    draw = uniform(wallets, bench.chance)
    ground.settle()
    with bench.steps.step(f"{_FIRST_TOUCHES:,} transfers in each that nobody measures"):
        for store in (aged, empty):
            store.post(_FIRST_TOUCHES, draw, draw)
    found = bench.interleaved(
        {
            AGED: aged.sample(draw, draw, settled=False),
            _EMPTY: empty.sample(draw, draw, settled=False),
        },
        end_s=end_s,
        rounds=_ROUNDS,
    )
    aged.close()
    empty.close()
    return [
        Figure(
            AGED,
            "transfers/s",
            found[AGED],
            Target("ratio", "at least", 0.85),
            _EMPTY,
            found[_EMPTY],
            f"{transfers:,} transfers written by set, indexes built in bulk; between checkpoints",
        )
    ]

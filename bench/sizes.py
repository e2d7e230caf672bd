"""How much is measured: for the record, for a quick look, or only to see that it runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of things and lengths of samples; times in seconds."""

    name: str
    limit_s: float
    """The whole run ends within this time, whatever the machine: later rounds are left out."""
    store_rounds: int
    rounds: int
    """Of everything for which processes are started."""
    wallets: int
    pgbench_scale: int
    store_transfers: int
    pgbench_s: float
    drain_messages: int
    plain_messages: int
    memory_steps: tuple[int, int]
    intake_s: float
    lone_posts: int
    open_loop_s: float
    callback_rounds: int
    callback_events: int
    callbacks_s: float
    partner_rounds: int
    partner_messages: int
    partner_s: float
    partner_flood: int
    aged_transfers: int
    """0: the store is not measured with so many transfers in it."""


FULL = Sizes(
    name="full",
    limit_s=1200,
    store_rounds=5,
    rounds=5,
    wallets=1_000_000,
    pgbench_scale=20,
    store_transfers=40_000,
    pgbench_s=6,
    drain_messages=40_000,
    plain_messages=1_000,
    memory_steps=(50_000, 200_000),
    intake_s=6,
    lone_posts=200,
    open_loop_s=60,
    callback_rounds=5,
    callback_events=20_000,
    callbacks_s=20,
    partner_rounds=5,
    partner_messages=20_000,
    partner_s=6,
    partner_flood=100_000,
    aged_transfers=10_000_000,
)

QUICK = Sizes(
    name="quick",
    limit_s=180,
    store_rounds=3,
    rounds=2,
    wallets=1_000_000,
    pgbench_scale=20,
    store_transfers=30_000,
    pgbench_s=2,
    drain_messages=20_000,
    plain_messages=300,
    memory_steps=(4_000, 16_000),
    intake_s=2,
    lone_posts=80,
    open_loop_s=8,
    callback_rounds=2,
    callback_events=12_000,
    callbacks_s=5,
    partner_rounds=1,
    partner_messages=8_000,
    partner_s=4,
    partner_flood=15_000,
    aged_transfers=0,
)

SMOKE = Sizes(
    name="smoke",
    limit_s=120,
    store_rounds=1,
    rounds=1,
    wallets=2_000,
    pgbench_scale=1,
    store_transfers=2_000,
    pgbench_s=1,
    drain_messages=8_000,
    plain_messages=20,
    memory_steps=(200, 400),
    intake_s=0.5,
    lone_posts=5,
    open_loop_s=1,
    callback_rounds=1,
    callback_events=100,
    callbacks_s=1,
    partner_rounds=1,
    partner_messages=300,
    partner_s=1,
    partner_flood=500,
    aged_transfers=0,
)

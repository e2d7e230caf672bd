"""How a run is told: a table for people, one line of JSON for programs."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from ops.demo.figures import Callbacks, Deposits, Figures, Latency
from ops.demo.rows import CURRENCY
from ops.show import money_text, printable

if TYPE_CHECKING:
    from ops.stack.stack import Stack

_SHOWN_MOST: Final = 20


def show(console: Console, figures: Figures) -> None:
    """The figures, then what disagrees, then the verdict."""
    console.print()
    for name, value in _lines(figures):
        labelled = Text.assemble((f"{name:<20}", "bold"), printable(value))
        console.print(labelled, soft_wrap=True)
    console.print()
    for line in figures.disagreements[:_SHOWN_MOST]:
        console.print(Text(f"DISAGREES  {printable(line)}", style="red"), soft_wrap=True)
    left = len(figures.disagreements) - _SHOWN_MOST
    if left > 0:
        console.print(f"… and {left} more.", highlight=False)
    if figures.agrees:
        console.print(
            f"[green]Agreed:[/] {figures.rows:,} outcomes and {figures.wallets:,} balances equal "
            "the replay of the file, every outcome was called back once and signed, and the books "
            "are sound.",
            highlight=False,
            soft_wrap=True,
        )
    else:
        console.print("[red]The ledger and the file disagree.[/]", highlight=False)


def show_addresses(console: Console, stack: "Stack") -> None:
    """Where to look around in a stack that stays up."""
    addresses = stack.client_variables()
    for name, url in (
        ("API", f"{addresses['TEKANA_API_URL']}/docs"),
        ("Flower", addresses["TEKANA_FLOWER_URL"]),
    ):
        console.print(f"{name:<7} {url}", soft_wrap=True, highlight=False, markup=False)
    console.print("Stop it with ./tekana down", highlight=False)


def json_line(figures: Figures) -> str:
    """All figures in one line."""
    return json.dumps({**dataclasses.asdict(figures), "agrees": figures.agrees})


def _lines(figures: Figures) -> list[tuple[str, str]]:
    rate = "none" if figures.rows_per_s is None else f"{figures.rows_per_s:,.0f} rows/s"
    return [
        ("file", f"{figures.file}: {figures.rows:,} rows between {figures.wallets:,} wallets"),
        ("run", figures.run),
        ("accepted", f"{figures.accepted:,}"),
        ("succeeded", f"{figures.succeeded:,}"),
        *(("rejected", f"{count:,} {code}") for code, count in figures.rejected.items()),
        ("batches", f"{rate}, from the first submitted to the last decided"),
        ("", f"each submitted to decided: {_latency(figures.batch_latency)}"),
        ("one by one", f"post to outcome at the client: {_latency(figures.single_latency)}"),
        *_deposit_lines(figures.deposits),
        *_callback_lines(figures.callbacks),
        ("sent again", f"{figures.repeats:,} requests"),
        *(
            (
                "" if place else "hottest wallets",
                _wallet(each),
            )
            for place, each in enumerate(figures.hottest)
        ),
        ("books", "sound" if figures.books_sound else "NOT SOUND"),
        ("took", f"{figures.seconds:.1f} s"),
    ]


def _deposit_lines(deposits: Deposits | None) -> list[tuple[str, str]]:
    if deposits is None:
        return []
    rate = "" if deposits.per_s is None else f", {deposits.per_s:,.0f}/s"
    return [
        ("partner's deposits", f"{deposits.told:,} over its queue{rate}"),
        ("", f"each sent to receipt: {_latency(deposits.receipt_latency)}"),
        ("", f"each sent to outcome: {_latency(deposits.outcome_latency)}"),
    ]


def _callback_lines(callbacks: Callbacks | None) -> list[tuple[str, str]]:
    if callbacks is None:
        return []
    counts = (
        f"{callbacks.verified:,} received and verified, {callbacks.repeated:,} repeated, "
        f"{callbacks.refused:,} refused"
    )
    return [
        ("callbacks", counts),
        ("", f"each decided to received: {_latency(callbacks.latency)}"),
    ]


def _wallet(hot: dict[str, Any]) -> str:
    balance = money_text(hot["balance"], CURRENCY)
    return f"{hot['name']:<12} rows {hot['rows']:>3}, entries {hot['entries']:>3}, {balance}"


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return "none"
    return f"p50 {latency.p50_ms:,.0f} ms, p99 {latency.p99_ms:,.0f} ms ({latency.count:,})"

"""What commands show: tables for people, JSON for programs."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text


def show_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table on standard output, or the line `empty` where there are no rows.

    Whatever others wrote into the cells is shown as text: it colours nothing and moves no
    cursor.
    """
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(_cell(value))) for value in row))
    if not table.row_count:
        click.echo(empty)
        return
    console = Console()
    if not console.is_terminal:
        # A program reads it, or a file keeps it: there is no edge to break lines at.
        console.width = 10_000
    console.print(table, highlight=False)


def printable(text: str) -> str:
    """The text with what a terminal would act upon made visible; line ends stay."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text
    )


def money_text(amount_minor: int, currency: str) -> str:
    """An amount as people write it: `KES -1,234.50`."""
    from domain.money import EXPONENTS

    exponent = EXPONENTS[currency]
    whole, part = divmod(abs(amount_minor), 10**exponent)
    fraction = f".{part:0{exponent}d}" if exponent else ""
    return f"{currency} {'-' if amount_minor < 0 else ''}{whole:,}{fraction}"


def time_text(moment: datetime | None) -> str:
    """A time in UTC to the second; empty if there is none."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return time_text(value)
    return "" if value is None else str(value)


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        from domain.fields import timestamp_text

        return timestamp_text(value)
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    raise TypeError(type(value).__name__)

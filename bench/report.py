"""What a run is told as: a table on the terminal, the same in Markdown, and JSON."""

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.results import Figure

COLUMNS = ("figure", "measured", "peer", "ratio", "target", "")


def rows(run: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table's cells, from a run's JSON."""
    found = [_row(Figure.from_json(stored)) for stored in run["figures"]]
    found += [(each["name"], "not measured", "", "", "", "–") for each in run["unmeasured"]]
    return found


def show(run: dict[str, Any], console: Console) -> None:
    """Print a run: the table, what missed its target, what was not measured, the books."""
    table = Table(*COLUMNS, box=None, header_style="bold", pad_edge=False)
    for cells in rows(run):
        style = {"missed": "yellow", "–": "red"}.get(cells[-1], "")
        table.add_row(*cells, style=style)
    console.print(table, highlight=False)
    for line in closing_lines(run):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def closing_lines(run: dict[str, Any]) -> list[str]:
    """What follows the table."""
    lines = [""]
    figures = [Figure.from_json(stored) for stored in run["figures"]]
    lines += [f"{figure.name}: {figure.note}." for figure in figures if figure.note]
    lines.append("")
    missed = [figure.name for figure in figures if not figure.met]
    lines.append(
        f"Missed its target: {'; '.join(missed)}." if missed else "Every target was reached."
    )
    lines += [f"Not measured: {each['name']}: {each['reason']}" for each in run["unmeasured"]]
    lines += [f"WRONG: {finding}" for finding in run["verify"]["findings"]]
    if not run["verify"]["findings"]:
        counted = sum(run["verify"]["instructions"].values())
        lines.append(f"verify: the books are sound, over {counted:,} instructions.")
    lines.append(described(run))
    return lines


def described(run: dict[str, Any]) -> str:
    """Machine, versions and commit in one sentence each."""
    about = run["about"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    changed = " with uncommitted changes" if about["uncommitted_changes"] else ""
    return (
        f"{about['cpus']} CPUs ({about['cpu']}), {about['memory_gib']} GiB, {about['system']}; "
        f"load {about['load_at_start']} at the start. {versions}. "
        f"Commit {about['commit']}{changed}, {run['started_at']}, size {run['size']}, "
        f"{run['took_s']:.0f} s. Load generators run on the same CPUs as what they measure."
    )


def markdown(run: dict[str, Any]) -> str:
    """The table and what it was measured on, for the README."""
    head = ("figure", "measured", "peer", "ratio", "target", "reached")
    lines = [f"| {' | '.join(head)} |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    lines += [f"| {' | '.join(cells)} |" for cells in rows(run)]
    return "\n".join([*lines, "", described(run), ""])


def _row(figure: Figure) -> tuple[str, ...]:
    peer = ""
    if figure.peer_value is not None:
        peer = f"{figure.peer}: {number_text(figure.peer_value)}"
    return (
        figure.name,
        f"{number_text(figure.value)} {figure.unit}",
        peer,
        "" if figure.ratio is None else f"{number_text(figure.ratio)} ×",
        target_text(figure),
        "met" if figure.met else "missed",
    )


def target_text(figure: Figure) -> str:
    """What the figure should reach, such as `≥ 2.8 ×` or `≤ 150 MB`."""
    target = figure.target
    unit = "×" if target.of == "ratio" else figure.unit
    return f"{'≥' if target.sense == 'at least' else '≤'} {target.bound:g} {unit}"


def number_text(value: float) -> str:
    """Three digits that say something, or all before the point."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"

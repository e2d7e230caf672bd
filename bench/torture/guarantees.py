"""Put the figures of a run into docs/guarantees.md.

python -m bench.torture.guarantees FILE.json
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from ops.stack.folder import CHECKOUT

PAGE: Final = CHECKOUT / "docs" / "guarantees.md"

_BEGIN: Final = "<!-- figures of the record run: begin -->"
_END: Final = "<!-- figures of the record run: end -->"


def figures(stored: dict[str, Any]) -> str:
    """The figures of a run as Markdown."""
    counts, about = stored["counts"], stored["about"]
    told = (
        f"`./tekana torture --minutes {stored['minutes']:g} --seed {stored['seed']} "
        f"--rate {stored['rate_per_s']:g}`, begun "
        f"{stored['started_at']} on {about['cpus']} cores: {counts['faults']} faults of "
        f"{counts['kinds']} kinds in {counts['rounds']} rounds ({counts['missed']} more met "
        f"nothing to break, and are not counted), after {counts['late']} of which the flow came "
        f"back later than its target; {counts['sent']:,} instructions sent, "
        f"{counts['accepted']:,} accepted, {counts['refused']:,} refused, "
        f"{counts['unknown']:,} of which no client ever learnt; {counts['decided']:,} decided "
        f"({counts['succeeded']:,} succeeded, {counts['rejected']:,} rejected); "
        f"{counts['answers']:,} answers and {counts['events']:,} events compared. "
        f"Broken promises: {len(stored['violations'])}."
    )
    head = (
        "| fault | times | flow back over HTTP, at most | over queues, at most | alone, at most | "
        "longest time without an outcome |"
    )
    lines = [told, "", *stored["notices"], head, "| --- | --: | --: | --: | --: | --: |"]
    lines += [
        f"| {kind} | {each['count']} | {_seconds(each['back_http_most_s'])} "
        f"| {_seconds(each['back_partner_most_s'])} | {_seconds(each['back_alone_most_s'])} "
        f"| {_seconds(each['gap_most_s'])} |"
        for kind, each in stored["kinds"].items()
    ]
    return "\n".join(lines)


def put(page: str, stored: dict[str, Any]) -> str:
    """The page with these figures in place of those before."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{figures(stored)}\n{_END}{after}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


if __name__ == "__main__":
    PAGE.write_text(put(PAGE.read_text(), json.loads(Path(sys.argv[1]).read_text())))

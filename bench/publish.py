"""`python -m bench.publish results.json`: put a run of the bench into the documentation.

Writes `docs/figures.svg`, and the table between the two marks in the README.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from bench.plot import svg
from bench.report import markdown
from ops.stack.folder import CHECKOUT

PLOT: Final = CHECKOUT / "docs" / "figures.svg"
README: Final = CHECKOUT / "README.md"
BEGIN: Final = "<!-- bench: written by python -m bench.publish -->"
END: Final = "<!-- bench: end -->"


def publish(run: dict[str, Any], readme: Path, plot: Path) -> None:
    """Write the plot, and the table into the README.

    Raises: ValueError if the README lacks the marks.
    """
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme} lacks the marks {BEGIN} and {END}")
    plot.write_text(svg(run))
    readme.write_text(f"{before}{BEGIN}\n{markdown(run)}{END}{after}")


if __name__ == "__main__":
    publish(json.loads(Path(sys.argv[1]).read_text()), README, PLOT)

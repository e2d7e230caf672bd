"""The figures as an SVG, written by hand: no library has to be installed to draw twenty bars.

It has a background of its own, light or dark as its reader prefers, so that it is legible on
any page.
"""

from collections.abc import Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from bench.report import number_text, target_text
from bench.results import Figure

_WIDTH: Final = 920
_LEFT: Final = 330
_RIGHT: Final = 210
"""Room for the words behind a bar that reaches the end of the axis."""

_PAIR_HEIGHT: Final = 50
_SINGLE_HEIGHT: Final = 32
_BAR: Final = 15
_HEADING: Final = 58
_MARGIN: Final = 24

_STYLE: Final = """
  svg { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
  .ground { fill: #ffffff; stroke: #d8dee4; }
  .title { font-weight: 600; font-size: 15px; fill: #1f2328; }
  .name { fill: #1f2328; }
  .aside { fill: #59636e; font-size: 12px; }
  .ours { fill: #1f7a6c; }
  .missed { fill: #c4721a; }
  .peer { fill: #b4bcc6; }
  .sample { fill: #ffffff; stroke: #1f2328; stroke-width: 1; }
  .axis { stroke: #d8dee4; }
  .target { stroke: #1f2328; stroke-dasharray: 3 2; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #14181d; stroke: #343c46; }
    .title, .name { fill: #e8edf2; }
    .aside { fill: #9aa5b1; }
    .ours { fill: #3fb6a1; }
    .missed { fill: #e39a4b; }
    .peer { fill: #56606c; }
    .sample { fill: #14181d; stroke: #e8edf2; }
    .axis { stroke: #343c46; }
    .target { stroke: #e8edf2; }
  }
"""


def svg(run: dict[str, Any]) -> str:
    """Draw a run's JSON: speeds beside their peers, and everything else beside its limit."""
    figures = [Figure.from_json(stored) for stored in run["figures"]]
    speeds = [each for each in figures if each.unit.endswith("/s") and each.peer_samples]
    limits = [each for each in figures if each not in speeds and _part_of_bound(each) is not None]
    about = run["about"]
    subtitle = (
        f"{about['cpus']} CPUs ({about['cpu']}), everything on one machine, "
        f"commit {about['commit']}, {run['started_at'][:10]}"
    )
    parts = [*_speeds(speeds, _MARGIN), *_limits(limits, _MARGIN + _speeds_height(speeds))]
    height = _MARGIN + _speeds_height(speeds) + _limits_height(limits) + 20
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
                f'width="{_WIDTH}" height="{height}" role="img" aria-label="Speed of Tekana">'
            ),
            f"<style>{_STYLE}</style>",
            (
                f'<rect class="ground" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" '
                'rx="8"/>'
            ),
            *parts,
            _text(_MARGIN, height - 14, subtitle, "aside"),
            "</svg>",
            "",
        ]
    )


def _speeds(figures: Sequence[Figure], top: float) -> list[str]:
    """One pair of bars for each: ours, and the peer's below it; a dot for each sample."""
    if not figures:
        return []
    most = max(max([*each.samples, *each.peer_samples]) for each in figures)
    parts = [
        _text(_MARGIN, top + 16, "Transfers a second, and the peer of the same minutes", "title"),
        _text(
            _MARGIN,
            top + 36,
            "Bars are medians, dots are samples, taken in turns. Amber: the target was missed.",
            "aside",
        ),
    ]
    y = top + _HEADING
    parts.append(_axis(y, y + len(figures) * _PAIR_HEIGHT - 8))
    for figure in figures:
        peer = figure.peer_value or 0.0
        parts += [
            _text(_LEFT - 12, y + 13, figure.name, "name", "end"),
            _text(_LEFT - 12, y + 29, figure.peer, "aside", "end"),
            *_bar(y, figure.value, figure.samples, most, _colour(figure)),
            *_bar(y + _BAR + 2, peer, figure.peer_samples, most, "peer"),
        ]
        said = f"{number_text(figure.value)}/s = {number_text(figure.ratio or 0)} ×"
        end = _LEFT + _length(max(*figure.samples, figure.value), most) + 10
        parts.append(_text(end, y + 12, said, "name"))
        end = _LEFT + _length(max(*figure.peer_samples, peer), most) + 10
        parts.append(
            _text(end, y + 29, f"{number_text(peer)}/s (target {target_text(figure)})", "aside")
        )
        y += _PAIR_HEIGHT
    return parts


def _limits(figures: Sequence[Figure], top: float) -> list[str]:
    """One bar for each: how much of what is allowed was used."""
    if not figures:
        return []
    parts = [
        _text(_MARGIN, top + 16, "Beside their limits", "title"),
        _text(_MARGIN, top + 36, "Shorter is better; the dashed line is the limit.", "aside"),
    ]
    y, most = top + _HEADING, max(1.0, *(_part_of_bound(each) or 0 for each in figures))
    bottom = y + len(figures) * _SINGLE_HEIGHT - 8
    limit = _LEFT + _length(1, most)
    parts.append(_axis(y, bottom))
    for figure in figures:
        part = _part_of_bound(figure) or 0.0
        found = figure.ratio if figure.target.of == "ratio" else figure.value
        unit = "×" if figure.target.of == "ratio" else figure.unit
        said = f"{number_text(found or 0)} {unit} ({target_text(figure)})"
        end = max(_LEFT + _length(part, most), limit) + 10
        parts += [
            _text(_LEFT - 12, y + 12, figure.name, "name", "end"),
            *_bar(y, part, [], most, _colour(figure)),
            _text(end, y + 12, said, "aside"),
        ]
        y += _SINGLE_HEIGHT
    parts.append(
        f'<line class="target" x1="{limit:.1f}" x2="{limit:.1f}" '
        f'y1="{top + _HEADING - 6}" y2="{bottom}"/>'
    )
    return parts


def _part_of_bound(figure: Figure) -> float | None:
    """How much of a limit was used; None where more is better, or the limit is nothing at all."""
    if figure.target.sense == "at least" or not figure.target.bound:
        return None
    found = figure.ratio if figure.target.of == "ratio" else figure.value
    return None if found is None else found / figure.target.bound


def _bar(y: float, value: float, samples: Sequence[float], most: float, kind: str) -> list[str]:
    middle = y + _BAR / 2
    return [
        (
            f'<rect class="{kind}" x="{_LEFT}" y="{y:.1f}" width="{_length(value, most):.1f}" '
            f'height="{_BAR}" rx="2"/>'
        ),
        *(
            f'<circle class="sample" cx="{_LEFT + _length(sample, most):.1f}" '
            f'cy="{middle:.1f}" r="2.5"/>'
            for sample in samples
        ),
    ]


def _axis(top: float, bottom: float) -> str:
    return f'<line class="axis" x1="{_LEFT}" x2="{_LEFT}" y1="{top - 6:.1f}" y2="{bottom:.1f}"/>'


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'


def _length(value: float, most: float) -> float:
    return (_WIDTH - _LEFT - _RIGHT) * value / most


def _colour(figure: Figure) -> str:
    return "ours" if figure.met else "missed"


def _speeds_height(figures: Sequence[Figure]) -> int:
    return _HEADING + len(figures) * _PAIR_HEIGHT + 12 if figures else 0


def _limits_height(figures: Sequence[Figure]) -> int:
    return _HEADING + len(figures) * _SINGLE_HEIGHT + 12 if figures else 0

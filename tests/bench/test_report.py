"""What is told of a run: on the terminal, in the README, as a plot."""

import io
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench import plot, report
from bench.publish import BEGIN, END, publish
from bench.results import Figure, Target, Unmeasured
from bench.run import Run


def a_run(**more: Any) -> dict[str, Any]:
    figures = [
        Figure(
            "store, uniform",
            "transfers/s",
            [14000.0, 15000.0, 16000.0],
            Target("ratio", "at least", 2.8),
            "pgbench & co",
            [5000.0, 5100.0, 4900.0],
            "one connection",
        ),
        Figure(
            "drain",
            "transfers/s",
            [8000.0],
            Target("ratio", "at least", 35),
            "plain design",
            [400.0],
        ),
        Figure("bytes of a transfer", "bytes", [390.0], Target("value", "at most", 420)),
        Figure("refused", "requests", [0], Target("value", "at most", 0)),
    ]
    about = {
        "cpu": "A CPU",
        "cpus": 2,
        "memory_gib": 8.0,
        "system": "Linux",
        "load_at_start": 0.1,
        "commit": "abcdef123456",
        "uncommitted_changes": False,
        "versions": {"Python": "3.11.7"},
    }
    started = "2026-11-24T01:00:00+00:00"
    return Run("quick", started, about, figures, **more).to_json()


def shown(run: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=200)
    report.show(run, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_tells_figure_peer_ratio_target_and_whether_it_was_met():
    [line] = [line for line in shown(a_run()).splitlines() if line.startswith("store, uniform  ")]

    assert line.split("  ")[0] == "store, uniform"
    for part in ("15,000 transfers/s", "pgbench & co: 5,000", "3.00 ×", "≥ 2.8 ×", "met"):
        assert part in line


def test_a_missed_target_is_named_below_the_table():
    assert "Missed its target: drain." in shown(a_run())


def test_what_was_not_measured_is_said_with_its_reason():
    text = shown(a_run(unmeasured=[Unmeasured("intake", "wrk is missing")]))

    assert "Not measured: intake: wrk is missing" in text


def test_wrong_books_are_said_and_sound_ones_too():
    assert "WRONG: tekana: wallet 1 is off" in shown(a_run(findings=["tekana: wallet 1 is off"]))
    assert "the books are sound" in shown(a_run(verified={"tekana": 5}))


@pytest.mark.parametrize(
    ("more", "failed"),
    [
        ({}, False),
        ({"unmeasured": [Unmeasured("intake", "no time")]}, True),
        ({"findings": ["wrong"]}, True),
    ],
)
def test_a_run_fails_for_wrong_books_and_missing_figures_but_not_for_missed_targets(more, failed):
    assert Run("quick", "now", {}, **more).failed is failed


def test_markdown_has_a_row_for_each_figure_and_the_machine_below():
    lines = report.markdown(a_run()).splitlines()

    assert len([line for line in lines if line.startswith("| ")]) == 2 + 4
    assert "Commit abcdef123456" in lines[-1]


def test_the_plot_is_well_formed_and_names_every_figure_that_has_a_length():
    root = ElementTree.fromstring(plot.svg(a_run()))

    words = " ".join(text for text in root.itertext() if text)
    for part in ("store, uniform", "pgbench & co", "drain", "bytes of a transfer", "≤ 420 bytes"):
        assert part in words


def test_every_bar_of_the_plot_ends_within_it():
    root = ElementTree.fromstring(plot.svg(a_run()))
    width = float(root.attrib["width"])

    for bar in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width


def test_the_plot_knows_light_and_dark():
    assert "prefers-color-scheme: dark" in plot.svg(a_run())


def test_publishing_replaces_the_table_and_nothing_else(tmp_path):
    readme, drawn = tmp_path / "README.md", tmp_path / "figures.svg"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    publish(a_run(), readme, drawn)
    publish(a_run(), readme, drawn)

    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| figure |")
    assert text.endswith(f"{END}\nafter\n")
    assert text.count("| store, uniform |") == 1
    assert drawn.read_text().startswith("<svg")


def test_publishing_into_a_readme_without_the_marks_changes_nothing(tmp_path):
    readme, drawn = tmp_path / "README.md", tmp_path / "figures.svg"
    readme.write_text("no marks\n")

    with pytest.raises(ValueError, match="lacks the marks"):
        publish(a_run(), readme, drawn)

    assert readme.read_text() == "no marks\n"
    assert not drawn.exists()

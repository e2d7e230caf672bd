"""`./tekana bench` from end to end, with tiny sizes: everything is measured, nothing is left."""

import json
import subprocess
import sys

from click.testing import CliRunner

from bench.figures import callbacks, drain, intake, lone, memory, partners, steady, store
from ops.commands.bench import bench
from ops.stack.folder import CHECKOUT, DEFAULT_RUN_FOLDER


def test_a_smoke_run_measures_every_figure_verifies_and_leaves_nothing(tmp_path):
    path = tmp_path / "bench.json"

    done = subprocess.run(
        [sys.executable, "-P", "-m", "ops", "bench", "--smoke", "--json", str(path)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads(path.read_text())
    measured = [figure["name"] for figure in run["figures"]]
    groups = (store, drain, memory, intake, lone, steady, callbacks, partners)
    assert measured == [name for group in groups for name in group.NAMES]
    assert run["unmeasured"] == []
    assert run["verify"]["findings"] == []
    assert run["verify"]["instructions"]["tekana"] > 2_000
    assert run["about"]["commit"]
    assert all(figure["name"] in done.stdout for figure in run["figures"])
    assert not list(DEFAULT_RUN_FOLDER.glob("bench-smoke-*"))


def test_a_file_in_no_folder_is_refused_before_anything_is_measured(tmp_path):
    path = tmp_path / "none" / "bench.json"

    done = CliRunner().invoke(bench, ["--smoke", "--json", str(path)])

    assert done.exit_code == 2
    assert f"there is no folder {path.parent}" in done.output

"""`python -m ops`, which `./tekana` runs."""

from ops.cli import main

main(prog_name="tekana")

"""Where commands find their settings."""

import os
from collections.abc import Mapping
from pathlib import Path

from ops.errors import OperatorError
from ops.stack.folder import DEFAULT_RUN_FOLDER


def settings_environment(
    environment: Mapping[str, str] = os.environ, run_dir: Path = DEFAULT_RUN_FOLDER
) -> dict[str, str]:
    """The variables for `Settings.from_env`: the environment's own, or the running stack's.

    With TEKANA_DATABASE_URL in the environment it is taken as it is, unless the URL is the
    private stack's: then `./tekana env` put it there, and the rest of that stack's settings,
    which are not printed, belong to it. Raises OperatorError if neither is to be had.
    """
    from ops.stack.stack import Stack

    given = dict(environment)
    running = Stack(run_dir, environment={}).variables()
    database_url = given.get("TEKANA_DATABASE_URL")
    if database_url and database_url != running.get("TEKANA_DATABASE_URL"):
        return given
    if not running:
        raise OperatorError(
            "No stack is running here, and TEKANA_DATABASE_URL is not set.", "Run ./tekana up"
        )
    return {**running, **given}

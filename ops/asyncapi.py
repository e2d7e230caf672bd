"""`python -m ops.asyncapi`: whether `docs/asyncapi.yaml` is what AsyncAPI's own parser accepts."""

import subprocess
import sys

from ops.errors import OperatorError
from ops.node import NODE, installed
from ops.stack.folder import CHECKOUT


def validate() -> int:
    """The parser's exit code; it says what is wrong on standard error. Raises: OperatorError."""
    tool = installed(CHECKOUT / "tools" / "asyncapi")
    document = CHECKOUT / "docs" / "asyncapi.yaml"
    return subprocess.run([NODE, tool / "validate.mjs", document], check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(validate())
    except OperatorError as error:
        sys.exit(error.format_message())

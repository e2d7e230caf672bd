"""The AsyncAPI document before AsyncAPI's own parser, and npm when it cannot install that."""

import subprocess
import sys
from pathlib import Path

import pytest

from ops import node
from ops.errors import OperatorError
from ops.stack.folder import CHECKOUT
from tests.generated_docs import ASYNCAPI

TOOL = CHECKOUT / "tools" / "asyncapi"


def test_the_document_is_valid() -> None:
    done = subprocess.run([sys.executable, "-m", "ops.asyncapi"], cwd=CHECKOUT, check=False)

    assert done.returncode == 0


def test_a_document_that_is_not_valid_is_named_with_its_line(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(ASYNCAPI.read_text().replace("action: send", "action: shout"))

    done = subprocess.run(
        [node.NODE, node.installed(TOOL) / "validate.mjs", wrong],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    line = 1 + wrong.read_text().splitlines().index("    action: shout")
    assert f"{wrong}:{line}: asyncapi-document-resolved" in done.stderr


def test_what_npm_cannot_install_is_told_and_tried_again_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "_ENVIRONMENT", tmp_path)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_offline", "true")

    for _ in range(2):
        with pytest.raises(OperatorError) as error:
            node.installed(TOOL)
        assert "npm could not install what asyncapi/package-lock.json names" in str(error.value)
        assert "ENOTCACHED" in error.value.detail

"""The OpenAPI document says what the API does, and `/docs` shows it without the network."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # Its stubs are a package of their own.
import pytest

from domain.instructions import DATA
from domain.problems import KINDS
from tests.api.conftest import Door
from tests.api.server import Server
from tests.api.test_access import CASES
from tests.browser import show


@pytest.fixture(scope="module")
def document(module_door: Door) -> dict[str, Any]:
    response = module_door.get("/v1/openapi.json", headers={"Authorization": None})
    assert response.status_code == 200
    assert response.json is not None
    return dict(response.json)


def test_every_route_with_a_key_is_described(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "security" in operation
    }

    assert described == {
        (method, re.sub("<uuid:([a-z_]+)>", r"{\1}", rule)) for method, rule in CASES
    }
    assert document["openapi"] == "3.1.0"


def test_bodies_are_described_by_the_types_that_decode_them(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    for model in DATA.values():
        assert set(schemas[model.__name__]["properties"]) == set(model.model_fields)
        assert schemas[model.__name__]["additionalProperties"] is False
    transfer = document["paths"]["/v1/transfers"]["post"]
    [content] = transfer["requestBody"]["content"].values()
    assert content["schema"] == {"$ref": "#/components/schemas/TransferData"}


def test_everything_that_goes_wrong_is_a_problem_document(document: dict[str, Any]) -> None:
    known = {str(kind.status) for kind in KINDS.values()}
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert status in known
                    assert list(response["content"]) == ["application/problem+json"]
                assert "X-Request-Id" in response["headers"]
                assert "503" in operation["responses"]


def test_its_references_lead_somewhere_and_its_schemas_are_schemas(
    document: dict[str, Any],
) -> None:
    names = set(re.findall(r'"#/components/schemas/(\w+)"', repr(document).replace("'", '"')))

    assert names <= set(document["components"]["schemas"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    "selection",
    [
        # Bodies that only a person would know to be wrong are accepted by no schema's word.
        ["--exclude-path", "/v1/batches", "--exclude-checks", "positive_data_acceptance"],
        # What is wrong with an item is told in its place, not by the answer's status.
        [
            "--include-path",
            "/v1/batches",
            "--exclude-checks",
            "positive_data_acceptance,negative_data_rejection",
        ],
    ],
)
def test_the_api_keeps_to_its_document_whatever_is_sent(
    door: Door, tmp_path: Path, selection: list[str]
) -> None:
    server = Server(door.settings, tmp_path, api_waiters=0)
    # Whoever waited for it may have been told that it is not ready yet.
    starting = server.log_file.read_text()
    command = [str(Path(sys.executable).parent / "schemathesis"), "run"]
    command += [f"{server.url}/v1/openapi.json", "-H", f"Authorization: Bearer {door.key}"]
    command += ["--max-time", "18", "--workers", "2", "--no-color", "--checks", "all", *selection]
    try:
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    finally:
        server.kill()

    assert run.returncode == 0, run.stdout
    tested = re.search(r"(\d+) generated", run.stdout)
    assert tested is not None
    # Hundreds on a machine with nothing else to do.
    assert int(tested[1]) > 30
    assert '"status": 5' not in server.log_file.read_text().removeprefix(starting)


class Assets(HTMLParser):
    """What a page loads, and whether it holds scripts or styles of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline = False
        self._open = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self._open = tag
        self.loaded += [value for name in ("src", "href") if (value := given.get(name))]
        self.inline |= "style" in given or any(name.startswith("on") for name in given)

    def handle_data(self, data: str) -> None:
        self.inline |= self._open in ("script", "style") and bool(data.strip())


def test_the_page_loads_nothing_from_elsewhere_and_has_no_script_in_it(door: Door) -> None:
    response = door.get("/docs", headers={"Authorization": None})
    page = Assets()
    page.feed(response.get_data(as_text=True))

    assert not page.inline
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.loaded
    for address in page.loaded:
        if address != "data:,":
            asset = door.get(address, headers={"Authorization": None})
            assert asset.status_code == 200
            assert asset.headers["Cache-Control"] != "no-store"
            assert asset.headers["X-Content-Type-Options"] == "nosniff"
            asset.close()


def test_a_browser_shows_the_document_and_complains_of_nothing(door: Door, tmp_path: Path) -> None:
    server = Server(door.settings, tmp_path)
    try:
        shown = show(f"{server.url}/docs", tmp_path)
    finally:
        server.kill()

    assert "Money moves between two wallets." in shown.document
    assert "Content Security Policy" not in shown.log
    assert "CONSOLE" not in shown.log

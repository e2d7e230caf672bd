"""The documents say what is there: all of it, and nothing else."""

import re
from pathlib import Path

import click
import pytest

from api.app import Parts, create_app
from config import broker
from config.settings import PREFIX, Settings
from domain.problems import KINDS
from domain.rejections import Code
from ops.cli import main
from ops.stack.folder import CHECKOUT
from storage.clients import SCOPES
from tests.generated_docs import ASYNCAPI, asyncapi_text, documents, generated

_SOURCE_FOLDERS = (
    "api",
    "bench",
    "config",
    "deploy",
    "domain",
    "examples",
    "migrations",
    "ops",
    "producers",
    "storage",
    "tests",
    "workers",
)


def _all_text() -> str:
    return "\n".join(path.read_text() for path in documents())


def _named(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


@pytest.mark.parametrize("path", documents(), ids=_named)
def test_generated_tables_are_as_the_code_says(path: Path) -> None:
    # If this fails: python -m tests.generated_docs
    assert path.read_text() == generated(path.read_text())


def test_the_asyncapi_document_is_as_the_code_says() -> None:
    # If this fails: python -m tests.generated_docs
    assert ASYNCAPI.read_text() == asyncapi_text()


def test_every_setting_is_in_the_table_of_settings() -> None:
    operations = (CHECKOUT / "docs" / "operations.md").read_text()

    for name in Settings.model_fields:
        assert f"| `{PREFIX}{name.upper()}` |" in operations


def test_every_variable_that_is_named_exists() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {"TEKANA_API_URL", "TEKANA_API_KEY", "TEKANA_FLOWER_URL"}

    assert set(re.findall(r"\bTEKANA_[A-Z_]+\b", _all_text())) <= known


def test_every_code_scope_and_queue_is_in_the_documents() -> None:
    text = _all_text()
    partitions = Settings.model_fields["partitions"].default
    last = broker.queues(partitions)[-1].name
    names = [*Code, *KINDS, *SCOPES, *broker.exchanges(), broker.DEAD_QUEUE, last]

    assert [name for name in names if f"`{name}`" not in text] == []


def test_rejections_are_listed_in_checking_order() -> None:
    contract = (CHECKOUT / "docs" / "contract.md").read_text()
    places = [contract.index(f"| `{code}` |") for code in Code]

    assert places == sorted(places)


def test_the_contract_has_every_route_and_no_other() -> None:
    settings = Settings.from_env(
        {
            "TEKANA_ENVIRONMENT": "development",
            "TEKANA_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
            "TEKANA_BROKER_URL": "amqp://127.0.0.1:9/",
            "TEKANA_REDIS_URL": "redis://127.0.0.1:9/0",
        }
    )
    parts = Parts.of(settings)
    app = create_app(settings, parts)
    parts.close()
    served = {
        method + " " + re.sub(r"<[^>]*?(\w+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    }
    served = {route for route in served if not route.startswith("GET /docs")}
    contract = (CHECKOUT / "docs" / "contract.md").read_text()
    told = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /v1/[^`?]*)", contract))

    assert told | {"GET /v1/openapi.json"} == served


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"\./tekana ([a-z][a-z-]*(?: [a-z][a-z-]*)*)", _all_text()))
    assert len(named) > 10

    for words in named:
        command: click.Command | None = main
        for word in words.split(" "):
            if not isinstance(command, click.Group):
                break  # What follows is an argument.
            command = command.get_command(click.Context(command), word)
            assert command is not None, f"./tekana {words}"


@pytest.mark.parametrize("path", documents(), ids=_named)
def test_every_link_leads_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())

    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_every_file_that_is_named_exists() -> None:
    folders = "|".join((*_SOURCE_FOLDERS, "docs"))
    named = set(re.findall(rf"`((?:{folders})/[\w./-]+\.\w+)`", _all_text()))
    assert len(named) > 5

    assert [name for name in sorted(named) if not (CHECKOUT / name).exists()] == []


def test_every_document_that_the_code_names_exists() -> None:
    sources = [
        path
        for folder in _SOURCE_FOLDERS
        for path in (CHECKOUT / folder).rglob("*")
        if path.suffix in (".py", ".cfg", ".sql", ".yml", ".conf")
    ]
    named = {
        name for path in sources for name in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text())
    }

    assert sorted(name for name in named if not (CHECKOUT / name).exists()) == []


def test_decisions_are_numbered_and_each_has_its_number_in_its_title() -> None:
    notes = sorted((CHECKOUT / "docs" / "decisions").glob("[0-9]*.md"))

    assert len({path.name[:4] for path in notes}) == len(notes)
    for path in notes:
        assert path.read_text().startswith(f"# {path.name[:4]} ")

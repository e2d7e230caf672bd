"""The AsyncAPI document says what partners send and read, and `/docs/queues` shows it."""

from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # Its stubs are a package of their own.
import pytest

from domain.events import EventType
from domain.instructions import DATA
from domain.partner import PartnerMessage
from tests.api.conftest import Door
from tests.api.server import Server
from tests.api.test_documents import Assets
from tests.asyncapi import DOCUMENT, check
from tests.browser import show

MESSAGES = DOCUMENT["components"]["messages"]


def test_every_instruction_and_event_is_described_and_nothing_else() -> None:
    channels = DOCUMENT["channels"]

    assert list(channels["inbox"]["messages"]) == list(DATA)
    assert list(channels["outbox"]["messages"]) == list(EventType)
    assert set(MESSAGES) == {*DATA, *EventType}


@pytest.mark.parametrize("name", DATA)
def test_instructions_are_described_by_the_types_that_decode_them(name: str) -> None:
    payload, model = MESSAGES[name]["payload"], DATA[name]
    schema = DOCUMENT["components"]["schemas"][model.__name__]

    assert set(payload["properties"]) == set(PartnerMessage.model_fields)
    assert payload["properties"]["data"] == {"$ref": f"#/components/schemas/{model.__name__}"}
    assert set(schema["properties"]) == set(model.model_fields)
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("name", MESSAGES)
def test_every_example_is_what_its_schema_says(name: str) -> None:
    [example] = MESSAGES[name]["examples"]

    check(name, example["payload"])
    if name in DATA:
        message = PartnerMessage.model_validate(example["payload"])
        DATA[name].model_validate(message.data)
    with pytest.raises(jsonschema.ValidationError):
        check(name, {**example["payload"], "version": 2})


def test_its_schemas_are_schemas() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_document_is_served_for_tools(module_door: Door) -> None:
    response = module_door.get("/docs/queues/asyncapi.json", headers={"Authorization": None})

    assert response.status_code == 200
    assert response.json == DOCUMENT


def test_the_page_has_no_script_and_one_style_sheet_of_ours(module_door: Door) -> None:
    response = module_door.get("/docs/queues", headers={"Authorization": None})
    page = Assets()
    page.feed(response.get_data(as_text=True))

    assert not page.inline
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    loaded = {address for address in page.loaded if not address.startswith("#")}
    assert loaded == {
        "data:,",
        "/docs",
        "/docs/assets/queues.css",
        "/docs/queues/asyncapi.json",
    }
    for address in loaded - {"data:,"}:
        asset = module_door.get(address, headers={"Authorization": None})
        assert asset.status_code == 200
        asset.close()


def test_the_links_inside_the_page_lead_somewhere(module_door: Door) -> None:
    response = module_door.get("/docs/queues", headers={"Authorization": None})
    text = response.get_data(as_text=True)
    page = Assets()
    page.feed(text)

    inside = {address for address in page.loaded if address.startswith("#")}
    assert len(inside) > 20
    assert [each for each in sorted(inside) if f'id="{each[1:]}"' not in text] == []


def test_a_browser_shows_the_page_and_complains_of_nothing(door: Door, tmp_path: Path) -> None:
    server = Server(door.settings, tmp_path)
    try:
        shown = show(f"{server.url}/docs/queues", tmp_path)
    finally:
        server.kill()

    assert "Money moves between two wallets." in shown.document
    assert "instruction.refused" in shown.document
    assert "Content Security Policy" not in shown.log
    assert "CONSOLE" not in shown.log

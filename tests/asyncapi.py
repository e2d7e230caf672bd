"""Messages held to the AsyncAPI document."""

from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]  # Its stubs are a package of their own.

from api.asyncapi import document

DOCUMENT: Final = document()


def check(name: str, message: Any) -> None:
    """Raise jsonschema.ValidationError if a message of this name is not as it is described."""
    payload = DOCUMENT["components"]["messages"][name]["payload"]
    _validator(payload).validate(message)


def check_data(name: str, data: Any) -> None:
    """The same for the `data` of a message alone."""
    payload = DOCUMENT["components"]["messages"][name]["payload"]
    _validator(payload["properties"]["data"]).validate(data)


def _validator(schema: dict[str, Any]) -> Any:
    # References are to the whole document, so it is the schema's own root.
    whole = {**schema, "components": DOCUMENT["components"]}
    kind = jsonschema.Draft202012Validator
    return kind(whole, format_checker=kind.FORMAT_CHECKER)

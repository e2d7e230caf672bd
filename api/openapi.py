"""The OpenAPI document: what the views declare about themselves, with schemas from the types."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from apiflask import APIBlueprint, APIFlask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import schemas
from api.answers import JSON
from api.batches import ITEMS_MAX
from api.callback_bodies import CallbackEndpointChange, NewCallbackEndpoint
from api.headers import WAIT_S_MAX
from api.problems import MEDIA_TYPE
from api.queries import LIMIT_DEFAULT, LIMIT_MAX
from domain.instructions import DATA
from domain.problems import KINDS

_V = TypeVar("_V", bound=Callable[..., Any])
Schema = dict[str, Any]

_REF: Final = "#/components/schemas/{model}"
_SECURITY: Final = "apiKey"

_ANSWERS: Final[Sequence[type[BaseModel]]] = (
    schemas.Problem,
    schemas.Instruction,
    schemas.BatchAnswer,
    schemas.CustomerPage,
    schemas.WalletPage,
    schemas.EntryPage,
    schemas.EventPage,
    schemas.CallbackEndpointPage,
    schemas.CallbackEndpointWithSecret,
    schemas.DeliveryPage,
    schemas.Health,
)

_BODIES: Final[Sequence[type[BaseModel]]] = (NewCallbackEndpoint, CallbackEndpointChange)

CONFIG: Final = {
    "OPENAPI_VERSION": "3.1.0",
    "AUTO_SERVERS": False,
    "AUTO_TAGS": True,
    "AUTO_OPERATION_ID": True,
    "AUTO_200_RESPONSE": False,
    "AUTO_404_RESPONSE": False,
    "AUTO_AUTH_ERROR_RESPONSE": False,
    "AUTO_VALIDATION_ERROR_RESPONSE": False,
    "INFO": {
        "description": "Instructions are queued, decided in order, and polled. "
        "Amounts are integers in the currency's minor unit. "
        "Partners may use [queues of their own](/docs/queues) instead.",
        "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
    },
    "SECURITY_SCHEMES": {
        _SECURITY: {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key: `tekana_live_…` or `tekana_test_…`.",
        }
    },
}


def described(
    blueprint: APIBlueprint,
    answers: Mapping[int, str],
    *,
    schema: type[BaseModel] | None = None,
    problems: Sequence[int] = (),
    parameters: Sequence[Schema] = (),
    body: str | None = None,
    headers: Mapping[str, Schema] | None = None,
    public: bool = False,
) -> Callable[[_V], _V]:
    """Describe a view: its answers by status, all of one schema, and its problems by status.

    Without a schema its answers are empty. `body` names the schema of the request's body. The
    docstring is the rest.
    """
    good = {
        status: {
            "description": description,
            **({} if schema is None else _content(schema)),
            "headers": {**_REQUEST_ID, **(headers or {})},
        }
        for status, description in answers.items()
    }
    asked = sorted({*problems, *(() if public else (401, 403)), 503})
    extensions: dict[str, Any] = {"parameters": list(parameters)}
    if body is not None:
        extensions["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": reference(body)}},
        }
    return blueprint.doc(
        responses=good | {status: _problem(status) for status in asked},
        security=None if public else _SECURITY,
        extensions=extensions,
    )


def _content(schema: type[BaseModel]) -> Schema:
    return {"content": {JSON: {"schema": reference(schema.__name__)}}}


def reference(name: str) -> Schema:
    """A reference to a schema of the document."""
    return {"$ref": _REF.format(model=name)}


def query(name: str, schema: Schema, description: str, *, required: bool = False) -> Schema:
    """A parameter in the query."""
    return _parameter("query", name, schema, description, required=required)


def header(name: str, schema: Schema, description: str, *, required: bool = False) -> Schema:
    """A parameter in a header."""
    return _parameter("header", name, schema, description, required=required)


def _parameter(
    where: str, name: str, schema: Schema, description: str, *, required: bool
) -> Schema:
    return {
        "in": where,
        "name": name,
        "schema": schema,
        "description": description,
        "required": required,
    }


PAGING: Final = (
    query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
        "How many things a page holds.",
    ),
    query("cursor", {"type": "string"}, "The `next_cursor` of the page before."),
)

_REQUEST_ID: Final[Schema] = {
    "X-Request-Id": {
        "description": "Names this request in our logs.",
        "schema": {"type": "string"},
        "required": True,
    }
}

_PROBLEM_HEADERS: Final[dict[int, Schema]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}},
    503: {"Retry-After": {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True}},
}

APPLIED: Final = {
    "Preference-Applied": {
        "description": "`wait=N` if the server has waited.",
        "schema": {"type": "string"},
    }
}

PREFER: Final = header(
    "Prefer",
    {"type": "string", "examples": ["wait=10"]},
    f"`wait=N` waits for the outcome for up to N seconds, {WAIT_S_MAX} at most. Advisory.",
)


def _problem(status: int) -> Schema:
    codes = ", ".join(f"`{code}`" for code, kind in KINDS.items() if kind.status == status)
    return {
        "description": codes,
        "content": {MEDIA_TYPE: {"schema": reference("Problem")}},
        "headers": _REQUEST_ID | _PROBLEM_HEADERS.get(status, {}),
    }


def complete(app: APIFlask) -> None:
    """Add what the views cannot say: the schemas."""

    def add_schemas(document: Any) -> Any:
        _, found = models_json_schema(
            [(model, "validation") for model in {*DATA.values(), *_BODIES, *_ANSWERS}],
            ref_template=_REF,
        )
        components = found["$defs"]
        # One of the two has to be there, which pydantic cannot say in a schema.
        components["CustomerOpenData"]["anyOf"] = [
            {"required": ["phone"], "properties": {"phone": {"type": "string"}}},
            {"required": ["email"], "properties": {"email": {"type": "string"}}},
        ]
        components["CallbackEndpointChange"]["minProperties"] = 1
        components["Batch"] = _batch()
        document["components"]["schemas"] = dict(sorted(components.items()))
        _say_that_ids_are_uuids(document)
        return document

    app.spec_processor(add_schemas)


def _batch() -> Schema:
    kinds = [
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["idempotency_key", "type", "data"],
            "properties": {
                "idempotency_key": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
                "type": {"const": name},
                "data": reference(data.__name__),
            },
        }
        for name, data in DATA.items()
    ]
    items = {"type": "array", "minItems": 1, "maxItems": ITEMS_MAX, "items": {"oneOf": kinds}}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["items"],
        "properties": {"items": items},
    }


def _say_that_ids_are_uuids(document: Schema) -> None:
    """Path parameters come from the addresses, which say it in Flask's words."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    parameter["schema"] = {"type": "string", "format": "uuid"}

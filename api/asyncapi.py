"""The AsyncAPI document: what partners publish and read, with schemas from the types.

`docs/asyncapi.yaml` is this document; `python -m tests.generated_docs` writes it anew.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.json_schema import models_json_schema

from api import queue_examples, schemas
from config import broker
from domain.events import EventType
from domain.fields import CurrencyCode, Id, IdempotencyKey
from domain.instructions import DATA, INSTRUCTIONS, SCOPES
from domain.problems import BODY_BYTES_MAX

Schema = dict[str, Any]

_REF: Final = "#/components/schemas/{model}"
_BINDING: Final = "0.3.0"
_DAY_MS: Final = 24 * 3600 * 1000

_ABOUT: Final = """\
A partner publishes instructions to an exchange of its own and reads receipts and outcomes from \
a queue of its own, with any AMQP 0-9-1 client. What becomes of an instruction is the same as \
over HTTP: one domain of idempotency keys, one outcome for ever.

`./tekana partner add acme` prints the broker's URL, in which the user is `partner.acme`. That \
user may write to the exchange `in.acme` and read the queue `out.acme`, and nothing else: it \
declares nothing."""

_INBOX: Final = f"""\
Publish persistent, mandatory messages with any routing key, in confirm mode, with the content \
type `application/json` and at most {BODY_BYTES_MAX} bytes. What the broker does not confirm, \
publish again with the same idempotency key. Instructions are taken in the order published. \
A priority, an expiration or a CC header is refused; other headers are ignored."""

_OUTBOX: Final = f"""\
Every event is delivered at least once, with the same `id` on every repeat; it is also the \
message's `message_id`. An instruction's receipt precedes its outcome; nothing else is ordered: \
use `seq`. The queue keeps {broker.OUTBOX_EVENTS:,} events for {broker.OUTBOX_MS // _DAY_MS} \
days and drops the oldest first; all of them are at `GET /v1/events` for 30 days."""

_EVENTS: Final = {
    EventType.ACCEPTED: ("The receipt: this instruction is going to be decided.", "Instruction"),
    EventType.REFUSED: ("What was published is no instruction that is accepted.", "Refusal"),
    EventType.SUCCEEDED: ("The outcome: it happened.", "Instruction"),
    EventType.REJECTED: ("The outcome: it was rejected, for ever.", "Instruction"),
    EventType.PARKED: ("It waits for an operator; its outcome follows.", "Instruction"),
    EventType.ENTRY_POSTED: ("The balance of a wallet that you may read changed.", "PostedEntry"),
}


class Refusal(BaseModel):
    """Why a message was refused, and which one it was. No key is spent."""

    model_config = ConfigDict(extra="allow")

    problem: schemas.Problem
    idempotency_key: str | None = Field(None, description="If the message had a valid one.")
    message_id: str | None = Field(None, description="As in the message's properties.")
    correlation_id: str | None = Field(None, description="As in the message's properties.")
    body_sha256: str = Field(
        pattern="^[0-9a-f]{64}$", description="Of the message's body, by which you find it."
    )


class PostedEntry(schemas.Entry):
    """One change of a wallet's balance, and which wallet's."""

    wallet_id: Id


def document() -> Schema:
    """The whole document, as plain JSON."""
    messages = {name: _instruction(name) for name in DATA} | {
        kind.value: _event(kind) for kind in EventType
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tekana queues for partners",
            "version": "1.0.0",
            "description": _ABOUT,
            "license": {
                "name": "Apache 2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "defaultContentType": "application/json",
        "servers": {"broker": _server()},
        "channels": {
            "inbox": _channel("in.{partner}", _INBOX, DATA, _exchange()),
            "outbox": _channel("out.{partner}", _OUTBOX, _EVENTS, _queue()),
        },
        "operations": {
            "instruct": _operation("receive", "inbox", "A partner gives instructions.", DATA),
            "tell": _operation("send", "outbox", "A partner reads events.", _EVENTS),
        },
        "components": {
            "messages": messages,
            "schemas": _schemas(),
            "securitySchemes": {
                "brokerUser": {
                    "type": "userPassword",
                    "description": "The partner's own; `./tekana partner rotate` changes it.",
                }
            },
        },
    }


def _server() -> Schema:
    return {
        "host": "{host}",
        "pathname": "/{vhost}",
        "protocol": "amqps",
        "protocolVersion": "0.9.1",
        "description": "As in the URL that came with the partner.",
        "variables": {
            "host": {"default": "localhost:5671", "description": "Host and port."},
            "vhost": {"default": "tekana", "description": "The virtual host."},
        },
        "security": [{"$ref": "#/components/securitySchemes/brokerUser"}],
    }


def _channel(address: str, description: str, names: Iterable[str], binding: Schema) -> Schema:
    return {
        "address": address,
        "description": description,
        "parameters": {"partner": {"description": "The partner's name."}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in map(str, names)},
        "bindings": {"amqp": {**binding, "bindingVersion": _BINDING}},
    }


def _exchange() -> Schema:
    return {
        "is": "routingKey",
        "exchange": {"type": "fanout", "durable": True, "autoDelete": False},
    }


def _queue() -> Schema:
    return {"is": "queue", "queue": {"durable": True, "exclusive": False, "autoDelete": False}}


def _operation(action: str, channel: str, summary: str, names: Iterable[str]) -> Schema:
    """`action` is ours: what a partner sends, we receive."""
    binding: Schema = {"ack": True}
    if action == "receive":
        binding = {"deliveryMode": 2, "mandatory": True}
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in map(str, names)],
        "bindings": {"amqp": {**binding, "bindingVersion": _BINDING}},
    }


def _instruction(name: str) -> Schema:
    kind = INSTRUCTIONS[name]
    payload = _object(
        {
            "version": {"const": 1},
            "idempotency_key": TypeAdapter(IdempotencyKey).json_schema(),
            "type": {"const": name},
            "data": {"$ref": _REF.format(model=DATA[name].__name__)},
        }
    )
    return _message(
        name,
        f"{kind.__doc__} Needs the scope `{SCOPES[name]}`.",
        payload | {"additionalProperties": False},
        queue_examples.instruction(name),
    )


def _event(kind: EventType) -> Schema:
    summary, model = _EVENTS[kind]
    payload = _object(
        {
            "version": {"const": 1},
            "id": {"type": "string", "format": "uuid"},
            "type": {"const": kind.value},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {"$ref": _REF.format(model=model)},
        }
    )
    return _message(kind.value, summary, payload, queue_examples.event(kind))


def _object(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _message(name: str, summary: str, payload: Schema, example: Schema) -> Schema:
    return {
        "name": name,
        "title": name,
        "summary": summary,
        "contentType": "application/json",
        "payload": payload,
        "examples": [{"name": name.replace(".", "_"), "payload": example}],
    }


def _schemas() -> Schema:
    """Those of the data, and all that they refer to."""
    models: set[type[BaseModel]] = {*DATA.values(), schemas.Instruction, Refusal, PostedEntry}
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    defined: Schema = _changed(found["$defs"], _without_title)
    # One of the two has to be there, which pydantic cannot say in a schema.
    defined["CustomerOpenData"]["anyOf"] = [{"required": ["phone"]}, {"required": ["email"]}]
    currency = TypeAdapter(CurrencyCode).json_schema()
    defined = _changed(
        defined,
        lambda schema: {"$ref": _REF.format(model="Currency")} if schema == currency else schema,
    )
    return dict(sorted({**defined, "Currency": currency}.items()))


def _without_title(schema: Schema) -> Schema:
    """Pydantic's titles repeat the names."""
    # A property may be named so as well; then what it names is a schema.
    named = schema.get("title")
    return {k: v for k, v in schema.items() if k != "title" or not isinstance(named, str)}


def _changed(part: Any, change: Callable[[Schema], Schema]) -> Any:
    """A copy in which every object is replaced by what `change` makes of it, leaves first."""
    if isinstance(part, dict):
        return change({key: _changed(value, change) for key, value in part.items()})
    if isinstance(part, list):
        return [_changed(value, change) for value in part]
    return part

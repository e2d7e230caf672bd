"""From a message that a partner may have made in any way to what it orders, or why not."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from config.broker import PROPERTIES_BYTES_MOST, PROPERTIES_TOO_LONG
from domain.decoding import MalformedJson, decode_json
from domain.fields import IdempotencyKey
from domain.instructions import DATA, Data
from domain.partner import PartnerMessage
from domain.problems import BODY_BYTES_MAX, field_errors

_JSON: Final = "application/json"

_NO_ENCODING: Final = frozenset({"", "utf-8", "identity"})
"""kombu says `utf-8` where AMQP means compression."""

_ACTED_ON: Final = frozenset({"priority", "expiration", "application_headers", "user_id"})
"""Properties that the broker acts on, or in which such things are said."""

_KEY: Final = TypeAdapter(IdempotencyKey)


class Message(NamedTuple):
    """A message with the tag it is acknowledged by. `body` is None if it is too large to keep."""

    tag: int
    body: bytes | None
    body_sha256: str | None
    properties: Mapping[str, Any]

    def __repr__(self) -> str:
        """Without the body, which may tell of a person."""
        return f"Message(tag={self.tag}, body_sha256={self.digest()!r})"

    def digest(self) -> str:
        """SHA-256 of the body, by which a partner finds what it sent: 64 hexadecimal digits."""
        return self.body_sha256 or hashlib.sha256(self.body or b"").hexdigest()


class Order(NamedTuple):
    """A well-formed instruction, before anybody asked whether this partner may give it."""

    idempotency_key: str
    type: str
    data: Data


class Refusal(NamedTuple):
    """Why a message is not taken in, with its key if it has a valid one."""

    code: str
    idempotency_key: str | None = None
    detail: str | None = None
    errors: Sequence[Mapping[str, str]] = ()


def received(tag: int, body: bytes, properties: Mapping[str, Any]) -> Message:
    """A message as it came; of a body that is too large only the digest is kept."""
    if len(body) > BODY_BYTES_MAX:
        return Message(tag, None, hashlib.sha256(body).hexdigest(), properties)
    return Message(tag, body, None, properties)


def read(message: Message, user: str) -> Order | Refusal:
    """What a message orders. `user` is the only name that its `user_id` may give.

    Properties never travel on. Those that would have the broker do what this system does not
    (expire it, reorder it, copy it, name somebody else) are refused, so that nobody relies
    on them; all others are ignored.
    """
    if PROPERTIES_TOO_LONG in message.properties:
        detail = f"properties have more than {PROPERTIES_BYTES_MOST} bytes together"
        return Refusal("invalid_body", errors=[{"property": "headers", "detail": detail}])
    if not _is_plain_json(message.properties):
        return Refusal("unsupported_media_type")
    if message.body is None:
        return Refusal("body_too_large")
    try:
        said = decode_json(message.body)
    except MalformedJson as error:
        return Refusal("malformed_json", detail=str(error))
    key = _valid_key(said)
    faults = _unwanted(message.properties, user)
    if faults:
        return Refusal("invalid_body", key, errors=faults)
    if key is None and isinstance(said, dict):
        given = said.get("idempotency_key") is not None
        return Refusal("idempotency_key_invalid" if given else "idempotency_key_missing")
    try:
        envelope = PartnerMessage.model_validate(said)
    except ValidationError as error:
        return Refusal("invalid_body", key, errors=field_errors(error))
    try:
        data = DATA[envelope.type].model_validate(envelope.data)
    except ValidationError as error:
        return Refusal("invalid_body", key, errors=field_errors(error, "/data"))
    return Order(envelope.idempotency_key, envelope.type, data)


def echoed(value: object) -> str | None:
    """A property of the partner's as text that JSON and Postgres can hold."""
    if not isinstance(value, str):
        return None
    return value.encode(errors="backslashreplace").decode().replace("\0", r"\x00")


def _is_plain_json(properties: Mapping[str, Any]) -> bool:
    media = str(properties.get("content_type", "")).partition(";")[0].strip().lower()
    encoding = str(properties.get("content_encoding", "")).strip().lower()
    return media == _JSON and encoding in _NO_ENCODING


def _valid_key(said: Any) -> str | None:
    if not isinstance(said, dict):
        return None
    try:
        return _KEY.validate_python(said.get("idempotency_key"), strict=True)
    except ValidationError:
        return None


def _unwanted(properties: Mapping[str, Any], user: str) -> list[dict[str, str]]:
    if _ACTED_ON.isdisjoint(properties):
        return []
    headers = properties.get("application_headers") or {}
    found = {
        # 0 is what some clients write who mean none at all.
        "priority": bool(properties.get("priority")) and "would reorder messages",
        "expiration": "expiration" in properties and "would lose messages; see expires_at",
        # RabbitMQ takes BCC off before anybody sees it; here it leads nowhere else.
        "headers.CC": "CC" in headers and "would copy messages",
        "user_id": properties.get("user_id", user) != user and "names somebody else",
    }
    return [{"property": name, "detail": detail} for name, detail in found.items() if detail]

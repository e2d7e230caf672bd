"""Batches: up to 1,000 instructions in one request, each of which stands alone."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from api.bodies import decoded
from api.intake import Intake, Submission
from api.problems import Problem
from domain.fields import IdempotencyKey, timestamp_text
from domain.instructions import SCOPES, Instruction, instruct
from domain.problems import field_errors
from storage.clients import Client

ITEMS_MAX: Final = 1000

_STRICT: Final = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

_KEY: Final = TypeAdapter(IdempotencyKey)


class Batch(BaseModel):
    """The body of a batch. Items are looked at one by one."""

    model_config = _STRICT

    items: Annotated[list[Any], Field(min_length=1, max_length=ITEMS_MAX)]


class Item(BaseModel):
    """One instruction of a batch."""

    model_config = _STRICT

    idempotency_key: Any
    type: Literal["customer.open", "wallet.open", "deposit", "withdrawal", "transfer"]
    data: Any


def submit_batch(intake: Intake, client: Client, body: Any, now: datetime) -> list[dict[str, Any]]:
    """Take in every item that can be, and say of each, in order, what became of it.

    Raises: Problem 422 if the batch itself is malformed; 503 as `Intake.submit` does, after
    which the whole batch is to be repeated.
    """
    try:
        items = Batch.model_validate(body).items
    except ValidationError as error:
        raise Problem("invalid_body", errors=field_errors(error)) from None
    at = timestamp_text(now)
    read = [_read(item, place, client, at) for place, item in enumerate(items)]
    submitted = iter(intake.submit([each for each in read if not isinstance(each, Problem)]))
    return [
        _answer(item, each if isinstance(each, Problem) else next(submitted))
        for item, each in zip(items, read, strict=True)
    ]


def _read(item: Any, place: int, client: Client, now: str) -> Instruction | Problem:
    pointer = f"/items/{place}"
    try:
        key = _key_of(item)
        decoded_item = Item.model_validate(item)
        _allow(client.scopes, decoded_item.type)
        data = decoded(decoded_item.type, decoded_item.data, f"{pointer}/data")
    except ValidationError as error:
        return Problem("invalid_body", errors=field_errors(error, pointer))
    except Problem as problem:
        return problem
    return instruct(client.id, key, data, decoded_item.type, now)


def _key_of(item: Any) -> str:
    """Raises: Problem, if an item that is an object has no valid key."""
    if not isinstance(item, dict):
        return ""  # Refused as a whole, next.
    if item.get("idempotency_key") is None:
        raise Problem("idempotency_key_missing")
    try:
        return _KEY.validate_python(item["idempotency_key"], strict=True)
    except ValidationError:
        raise Problem("idempotency_key_invalid") from None


def _allow(scopes: Collection[str], instruction_type: str) -> None:
    if SCOPES[instruction_type] not in scopes:
        raise Problem("forbidden")


def _answer(item: Any, outcome: Submission | Problem) -> dict[str, Any]:
    if isinstance(outcome, Problem):
        return {
            "idempotency_key": _key_shown(item),
            "status": "refused",
            "problem": outcome.document(),
        }
    instruction = outcome.instruction
    return {
        "idempotency_key": instruction.idempotency_key,
        "id": instruction.id,
        "status": outcome.status,
        "data": instruction.completed_data(),
    }


def _key_shown(item: Any) -> str | None:
    """The item's key if it has a valid one, by which the caller finds its own."""
    try:
        return _key_of(item) or None
    except Problem:
        return None

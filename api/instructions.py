"""The routes of instructions: in by POST, and polled."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response

from api import schemas
from api.access import ANY_KEY, allowed_to, caller
from api.answers import answer, to_json
from api.batches import submit_batch
from api.bodies import BATCH_BYTES_MAX, decoded, read_json
from api.finding import Finding, Found
from api.headers import idempotency_key, wait_s
from api.intake import Intake, Submission
from api.openapi import APPLIED, PREFER, described, header, query
from api.problems import Problem
from api.queries import Query
from api.waits import Wait, Waits
from domain.events import without_personal_data
from domain.fields import timestamp_text
from domain.identity import instruction_id
from domain.instructions import DATA, INSTRUCTIONS, SCOPES, instruct
from domain.problems import BODY_BYTES_MAX

_ROUTES: Final = {
    "/customers": "customer.open",
    "/wallets": "wallet.open",
    "/deposits": "deposit",
    "/withdrawals": "withdrawal",
    "/transfers": "transfer",
}

_CUSTOMERS: Final = frozenset({"customers:read", "customers:write"})

_KEY: Final = {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"}

_POSTED: Final = APPLIED | {
    "Location": {"description": "Where to poll.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` if this key was used before.",
        "schema": {"type": "string", "const": "true"},
    },
}


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes of instructions work with."""

    intake: Intake
    finding: Finding
    waits: Waits


def routes(desk: Desk) -> APIBlueprint:
    """The routes, working on one desk."""
    blueprint = APIBlueprint("instructions", __name__, url_prefix="/v1", tag="Instructions")
    for path, instruction_type in _ROUTES.items():
        view = _posting(blueprint, desk, instruction_type)
        blueprint.add_url_rule(path, instruction_type.replace(".", "_"), view, methods=["POST"])

    @blueprint.post("/batches")
    @described(
        blueprint,
        {202: "What became of each item, in order."},
        schema=schemas.BatchAnswer,
        problems=(400, 413, 415, 422),
        body="Batch",
    )
    @allowed_to(ANY_KEY)  # Each item asks for the scope of its own type.
    def batch() -> Response:
        """Give up to 1,000 instructions, each of which stands alone."""
        body = read_json(BATCH_BYTES_MAX)
        items = submit_batch(desk.intake, caller(), body, datetime.now(UTC))
        return answer(to_json({"items": items}), 202)

    @blueprint.get("/instructions/<uuid:id>")
    @described(
        blueprint,
        {200: "The instruction as it stands."},
        schema=schemas.Instruction,
        problems=(404, 422),
        parameters=[PREFER],
        headers=APPLIED,
    )
    @allowed_to(ANY_KEY)
    def instruction(id: UUID) -> Response:  # noqa: A002  # The contract calls it so.
        """Poll one of your instructions."""
        Query()
        return _polled(desk, str(id))

    @blueprint.get("/instructions")
    @described(
        blueprint,
        {200: "The instruction as it stands."},
        schema=schemas.Instruction,
        problems=(404, 422),
        parameters=[query("idempotency_key", _KEY, "As it was given.", required=True), PREFER],
        headers=APPLIED,
    )
    @allowed_to(ANY_KEY)
    def instruction_by_key() -> Response:
        """Poll the instruction that one of your idempotency keys names."""
        key = Query("idempotency_key").idempotency_key()
        return _polled(desk, instruction_id(caller().id, key))

    return blueprint


def _posting(blueprint: APIBlueprint, desk: Desk, instruction_type: str) -> Callable[[], Response]:
    @described(
        blueprint,
        {200: "Decided: this is the outcome.", 202: "Queued: poll for the outcome."},
        schema=schemas.Instruction,
        problems=(400, 413, 415, 422),
        parameters=[
            header("Idempotency-Key", _KEY, "Your name for it. Never expires.", required=True),
            PREFER,
        ],
        body=DATA[instruction_type].__name__,
        headers=_POSTED,
    )
    @allowed_to(SCOPES[instruction_type])
    def post() -> Response:
        key = idempotency_key()
        data = decoded(instruction_type, read_json(BODY_BYTES_MAX))
        now = timestamp_text(datetime.now(UTC))
        instruction = instruct(caller().id, key, data, instruction_type, now)
        asked_s = wait_s()
        with desk.waits.on(instruction.id, asked_s) as wait:
            [submitted] = desk.intake.submit([instruction])
            if isinstance(submitted, Problem):
                raise submitted
            found = _awaited(desk, submitted, wait)
        return _posted(submitted, found, asked_s if wait else 0)

    post.__doc__ = INSTRUCTIONS[instruction_type].__doc__
    return post


def _awaited(desk: Desk, submitted: Submission, wait: Wait | None) -> Found:
    instruction = submitted.instruction
    if wait is not None and not submitted.decided:
        found = wait.until(lambda: desk.finding.settled(instruction.client_id, instruction.id))
        if found is not None:
            # Redis may have forgotten the key: then nobody knew, before it was decided again.
            if desk.finding.is_of(found, instruction):
                return found
            if found.final:
                raise Problem("idempotency_key_reused")
    return Found(submitted.status, submitted.view)


def _posted(submitted: Submission, found: Found, waited_s: int) -> Response:
    headers = {"Location": f"/v1/instructions/{submitted.instruction.id}"}
    if submitted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return answer(found.view, 200 if found.final else 202, headers | _applied(waited_s))


def _polled(desk: Desk, id: str) -> Response:  # noqa: A002  # The contract calls it so.
    client_id = caller().id
    asked_s = wait_s()
    with desk.waits.on(id, asked_s) as wait:
        found = desk.finding.find(client_id, id)
        if wait is not None and _worth_waiting(found, wait):
            found = wait.until(lambda: desk.finding.settled(client_id, id)) or found
    if found is None:
        raise Problem("not_found")
    return answer(_for_caller(found), headers=_applied(asked_s if wait else 0))


def _for_caller(found: Found) -> bytes:
    """The instruction as this key may see it: a customer's name is for keys of customers."""
    if _CUSTOMERS.intersection(caller().scopes):
        return found.view
    return to_json(without_personal_data(json.loads(found.view)))


def _worth_waiting(found: Found | None, wait: Wait) -> bool:
    """An instruction that is not known may yet be on its way, if Redis could not note it."""
    return not wait.certain if found is None else not found.settled


def _applied(waited_s: int) -> dict[str, Any]:
    return {"Preference-Applied": f"wait={waited_s}"} if waited_s else {}

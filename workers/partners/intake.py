"""Take messages of one partner in: judge them, write down what the partner is told."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pydantic_core import to_json
from sqlalchemy import Connection, Engine

from config.broker import partner_user
from domain.events import Event, EventType, Shows, without_personal_data
from domain.fields import timestamp_text
from domain.identity import derived_id
from domain.instructions import SCOPES, Instruction, instruct
from domain.problems import problem_document
from domain.views import queued_view
from storage import events, inbox
from storage.outcomes import Noted, Outcomes, as_first_said
from storage.partners import Partner
from workers.partners.messages import Message, Order, Refusal, echoed, read

log = logging.getLogger(__name__)

DEFECT: Final = Refusal("internal_error")
"""For a message that met a defect of ours: the partner is told, and the others go on."""


class NoPartner(Exception):
    """It was removed meanwhile: its messages are nobody's any more."""


class Taken(NamedTuple):
    """What became of some messages: what their partner is told, in order, and what is to be
    decided, in order."""

    told: list[Event]
    accepted: list[Instruction]


@dataclass(frozen=True, slots=True)
class _Accepted:
    """An instruction that gets a receipt, with its queued view.

    `outcome`: it is decided, and need not be again.
    """

    instruction: Instruction
    view: dict[str, Any]
    outcome: inbox.Outcome | None


class Intake:
    """The way in over a partner's queue; the way over HTTP is `api.intake`, by the same rules.

    Whoever called may call again with the same messages: ids are derived, so the partner is
    told the same, and the ledger decides an instruction once.
    """

    def __init__(self, engine: Engine, outcomes: Outcomes) -> None:
        self._engine = engine
        self._outcomes = outcomes

    def take_in(self, partner: Partner, messages: Sequence[Message]) -> Taken:
        """Judge messages in the order they came; what is told is committed on return.

        Raises: NoPartner; the driver's errors, which `storage.faults.classify` puts in order.
        """
        user = partner_user(partner.name)
        orders = [read(message, user) for message in messages]
        now = datetime.now(UTC)
        at = timestamp_text(now)
        with self._engine.begin() as connection:
            standing = inbox.standing(connection, partner.client_id)
            if standing is None:
                raise NoPartner(partner.name)
            allowed = [_allowed(order, standing, partner.client_id, at) for order in orders]
            judged = self._judged(connection, partner.client_id, allowed)
            return _written(connection, partner, messages, judged, now)

    def refuse(self, partner: Partner, message: Message, refusal: Refusal) -> Taken:
        """Tell a partner that a message is refused, without having looked at it."""
        with self._engine.begin() as connection:
            return _written(connection, partner, [message], [refusal], datetime.now(UTC))

    def _judged(
        self,
        connection: Connection,
        client_id: int,
        allowed: Sequence[Instruction | Refusal],
    ) -> list[_Accepted | Refusal]:
        """Find what used its key before: here in this batch, decided, or on its way."""
        ids = {each.id for each in allowed if not isinstance(each, Refusal)}
        decided = inbox.decided(connection, client_id, ids)
        asked = [
            each
            if isinstance(each, Refusal)
            else _Accepted(each, queued_view(each), decided.get(each.id))
            for each in allowed
        ]
        notes = iter(self._note(asked))
        first: dict[str, _Accepted] = {}
        judged: list[_Accepted | Refusal] = []
        for one in asked:
            if isinstance(one, Refusal):
                judged.append(one)
            else:
                judged.append(_judge(one, next(notes) if one.outcome is None else None, first))
        return judged

    def _note(self, asked: Iterable[_Accepted | Refusal]) -> list[Noted | None]:
        """Have polls find what is on its way. Redis never raises, and decides nothing."""
        new = [
            (each.instruction, to_json(each.view))
            for each in asked
            if isinstance(each, _Accepted) and each.outcome is None
        ]
        return self._outcomes.note(new) if new else []


def _allowed(
    order: Order | Refusal, standing: inbox.Standing, client_id: int, now: str
) -> Instruction | Refusal:
    if standing.suspended_reason is not None:
        return Refusal("forbidden", order.idempotency_key, standing.suspended_reason)
    if isinstance(order, Refusal):
        return order
    if SCOPES[order.type] not in standing.scopes:
        return Refusal("forbidden", order.idempotency_key)
    return instruct(client_id, order.idempotency_key, order.data, order.type, now)


def _judge(
    asked: _Accepted, noted: Noted | None, first: dict[str, _Accepted]
) -> _Accepted | Refusal:
    """Whether its key stands for this body: by this batch so far, by Postgres, by the note.

    A note is believed only against another body, since its publish may never have happened.
    """
    instruction = asked.instruction
    earlier = first.get(instruction.id)
    if earlier is not None:
        before = earlier.instruction.fingerprint
    else:
        known = asked.outcome or noted
        before = instruction.fingerprint if known is None else known.fingerprint
    if before != instruction.fingerprint:
        return Refusal("idempotency_key_reused", instruction.idempotency_key)
    if earlier is None:
        earlier = first[instruction.id] = asked if noted is None else _as_first_said(asked, noted)
    return earlier


def _as_first_said(asked: _Accepted, noted: Noted) -> _Accepted:
    said = as_first_said(asked.instruction, noted)
    return _Accepted(said, {**asked.view, "submitted_at": said.submitted_at}, asked.outcome)


def _written(
    connection: Connection,
    partner: Partner,
    messages: Sequence[Message],
    judged: Sequence[_Accepted | Refusal],
    now: datetime,
) -> Taken:
    """Write all receipts as one row, which nobody has to be told of again: we tell it now."""
    receipts = [
        _refused(partner.client_id, message, each, now)
        if isinstance(each, Refusal)
        else _accepted(partner.client_id, each)
        for message, each in zip(messages, judged, strict=True)
    ]
    events.add_documents(connection, partner.client_id, receipts, now, pending=False)
    again = _outcomes_again(connection, partner.client_id, judged, now)
    told = []
    for receipt, each in zip(receipts, judged, strict=True):
        told.append(receipt)
        if isinstance(each, _Accepted) and each.outcome is not None:
            told.append(again[each.instruction.id])
    _count(partner, judged)
    undecided = {
        each.instruction.id: each.instruction
        for each in judged
        if isinstance(each, _Accepted) and each.outcome is None
    }
    return Taken(told, [*undecided.values()])


def _outcomes_again(
    connection: Connection,
    client_id: int,
    judged: Iterable[_Accepted | Refusal],
    now: datetime,
) -> dict[str, Event]:
    """The outcome of each instruction that has one, by its id."""
    decided = {
        each.instruction.id: Shows.SUCCEEDED if each.outcome.succeeded else Shows.REJECTED
        for each in judged
        if isinstance(each, _Accepted) and each.outcome is not None
    }
    if not decided:
        return {}
    row = events.Row(now, 0, client_id, [*decided], bytes(decided.values()), None)
    rendered = events.render(connection, client_id, [row])
    return dict(zip(decided, (event for _, event in rendered), strict=True))


def _accepted(client_id: int, accepted: _Accepted) -> Event:
    return Event(
        derived_id("event", client_id, accepted.instruction.id, EventType.ACCEPTED.value),
        EventType.ACCEPTED,
        accepted.instruction.submitted_at,
        without_personal_data(accepted.view),
    )


def _refused(client_id: int, message: Message, refusal: Refusal, now: datetime) -> Event:
    """The same message that comes again and is refused for the same reason is the same event."""
    digest = message.digest()
    said = {
        "message_id": echoed(message.properties.get("message_id")),
        "correlation_id": echoed(message.properties.get("correlation_id")),
        "idempotency_key": refusal.idempotency_key,
    }
    what = refusal.code, digest, *said.values()
    event_id = derived_id("event", client_id, EventType.REFUSED.value, *what)
    problem = problem_document(refusal.code, event_id, refusal.detail, refusal.errors)
    data = {
        "problem": problem,
        **{name: value for name, value in said.items() if value is not None},
        "body_sha256": digest,
    }
    return Event(event_id, EventType.REFUSED, timestamp_text(now), data)


def _count(partner: Partner, judged: Iterable[_Accepted | Refusal]) -> None:
    refused = Counter(each.code for each in judged if isinstance(each, Refusal))
    if refused:
        log.info("refused", extra={"partner": partner.name, "codes": dict(refused)})

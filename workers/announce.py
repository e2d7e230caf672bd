"""Tell those who wait: outcomes to Redis, after they are committed."""

import logging

from pydantic_core import to_json

from domain.books import Answer, Decision
from storage.ledger import Decided
from storage.outcomes import Outcomes, Put

log = logging.getLogger(__name__)


class Announcer:
    """Puts the outcomes of a batch where they are polled, in one round trip.

    It never raises: what is not announced is read from Postgres, a little slower.
    """

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes

    def announce(self, decided: Decided) -> None:
        """Show every outcome of the batch, replayed ones too, whose first showing may be lost.

        A reused key is left out: its outcome is that of another body.
        """
        decisions = [
            decision
            for decision in decided.posting.decisions
            if decision.answer is not Answer.REUSED
        ]
        try:
            self._outcomes.put([_item(decided, decision) for decision in decisions])
        except Exception:
            log.exception("outcomes were not announced", extra={"outcomes": len(decisions)})


def _item(decided: Decided, decision: Decision) -> Put:
    instruction, outcome, _ = decision
    return Put(
        instruction.id,
        instruction.client_id,
        instruction.fingerprint,
        outcome.status,
        to_json(decided.view(decision)),
    )

"""One batch of one partner on its way, from the inbox to the partitions, stage by stage."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from config.logs import described
from domain.instructions import Instruction
from producers.messages import Unconfirmed
from storage.faults import Fault, classify
from storage.partners import Partner
from workers.partners.intake import DEFECT, Intake, NoPartner, Taken
from workers.partners.messages import Message
from workers.partners.outbound import Outbound

log = logging.getLogger(__name__)

Forward = Callable[[Sequence[Instruction]], Sequence[Unconfirmed | None]]
"""Publishes to the partitions, in order; None for each that the broker has promised to keep."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the turns of one worker have in common. All of it may be used by many threads."""

    intake: Intake
    outbound: Outbound
    forward: Forward


class Turn:
    """Messages in the order they came; the last one's tag acknowledges all of them."""

    def __init__(self, desk: Desk, partner: Partner, messages: Sequence[Message]) -> None:
        self.last_tag = messages[-1].tag
        self._desk = desk
        self._partner = partner
        self._messages = messages
        self._taken: Taken | None = None
        self._told = False
        self._left: Sequence[Instruction] = ()

    def run(self) -> None:
        """Go through all stages, from the first that has not been reached. Done on return.

        A receipt is with the broker before its instruction is: so it precedes the outcome.

        Raises: NoPartner; Unconfirmed, or the driver's errors, if it is to be run again later.
        """
        if self._taken is None:
            self._taken = self._take_in()
            self._left = self._taken.accepted
        if not self._told:
            self._desk.outbound.publish(self._partner.name, self._taken.told)
            self._told = True
        self._forward()

    def _forward(self) -> None:
        if not self._left:
            return
        outcomes = self._desk.forward(self._left)
        pairs = [*zip(self._left, outcomes, strict=True)]
        self._left = [each for each, outcome in pairs if outcome is not None]
        for _, outcome in pairs:
            if outcome is not None:
                raise outcome

    def _take_in(self) -> Taken:
        try:
            return self._desk.intake.take_in(self._partner, self._messages)
        except Exception as error:
            if not _is_defect(error):
                raise
            log.exception(
                "batch failed; going on one by one",
                extra={"partner": self._partner.name, "messages": len(self._messages)},
            )
        taken = [self._take_in_alone(message) for message in self._messages]
        return Taken(
            [event for each in taken for event in each.told],
            [instruction for each in taken for instruction in each.accepted],
        )

    def _take_in_alone(self, message: Message) -> Taken:
        try:
            return self._desk.intake.take_in(self._partner, [message])
        except Exception as error:
            if not _is_defect(error):
                raise
            log.error(  # noqa: TRY400  Its traceback was logged with the batch.
                "refused by a defect",
                extra={
                    "partner": self._partner.name,
                    "body_sha256": message.digest(),
                    "fault": described(error),
                },
            )
        return self._desk.intake.refuse(self._partner, message, DEFECT)


def _is_defect(error: Exception) -> bool:
    """Whether it is in a message or in us, so that waiting would not mend it."""
    return not isinstance(error, NoPartner) and classify(error) is Fault.DETERMINISTIC

"""One batch of one partner on its way from the inbox to the partitions: taken in, passed on."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from config.logs import described
from domain.events import Event
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
        self.is_taken_in = False
        """Whether it is known what becomes of each message."""
        self._to_tell: Sequence[Event] = ()
        self._to_decide: Sequence[Instruction] = ()

    def take_in(self) -> None:
        """Judge the messages and commit what their partner is told.

        Raises: NoPartner; the driver's errors, if it is to be run again later.
        """
        self._to_tell, self._to_decide = self._judged()
        self.is_taken_in = True

    def pass_on(self) -> None:
        """Tell the partner, then publish what is to be decided, from where it failed before.

        A receipt is with the broker before its instruction is: so it precedes the outcome.

        Raises: Unconfirmed, if it is to be run again later.
        """
        if self._to_tell:
            self._desk.outbound.publish(self._partner.name, self._to_tell)
            self._to_tell = ()
        if self._to_decide:
            self._forward()

    def _forward(self) -> None:
        outcomes = self._desk.forward(self._to_decide)
        pairs = [*zip(self._to_decide, outcomes, strict=True)]
        self._to_decide = [each for each, outcome in pairs if outcome is not None]
        for _, outcome in pairs:
            if outcome is not None:
                raise outcome

    def _judged(self) -> Taken:
        try:
            return self._desk.intake.take_in(self._partner, self._messages)
        except Exception as error:
            if not _is_defect(error):
                raise
            log.exception(
                "batch failed; going on one by one",
                extra={"partner": self._partner.name, "messages": len(self._messages)},
            )
        taken = [self._judged_alone(message) for message in self._messages]
        return Taken(
            [event for each in taken for event in each.told],
            [instruction for each in taken for instruction in each.accepted],
        )

    def _judged_alone(self, message: Message) -> Taken:
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

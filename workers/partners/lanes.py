"""A partner's inbox as the step sees it: two places where a thread works at one turn at a time.

In the first a turn is taken in, in the second it is passed on; so what waits for Postgres and
what waits for the broker's confirms wait at the same time, and turns never overtake each other.
"""

import logging
import random
import time
from typing import Final

from config.logs import described
from storage.partners import Partner
from workers.channels import Lane
from workers.flower import TokenBucket
from workers.partners.messages import Message
from workers.partners.turn import Desk, Turn

log = logging.getLogger(__name__)

TURN_MOST: Final = 3000
"""Messages of one turn, however high a partner's rate: the next one waits no longer than these
take. A turn is spread over all partitions, whose batches are the better the larger they are."""

TURNS_HELD: Final = 3
"""How many turns' messages are received and not acknowledged: one that is passed on, one that is
taken in, one that comes in. So a partner has the worker hold no more than its rate is worth."""

BURST_S: Final = 0.1
"""So much of its rate a partner may use at once."""

BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MOST_S: Final = 1.0


class Watch(Lane):
    """Stands among the lanes for the look at who is a partner now."""

    in_trouble = False


class Stage(Lane):
    """A place for one turn of a partner, which is run again there until it has succeeded."""

    inbox: "InboxLane"
    partner: Partner

    def __init__(self) -> None:
        super().__init__()
        self.turn: Turn | None = None
        self.busy = False
        """Whether a thread has the turn."""
        self._attempts = 0
        self._trouble_since: float | None = None

    def empty(self) -> None:
        """Forget the turn. If a thread has it, nobody acts on how that ends."""
        self.turn, self.busy, self.due_at = None, False, None

    def failed(self, error: Exception) -> float:
        """Seconds to wait before the turn is run again; logged once per outage."""
        if self._trouble_since is None:
            self._trouble_since = time.monotonic()
            log.warning(
                "held in place", extra={"partner": self.partner.name, "fault": described(error)}
            )
        wait_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** min(self._attempts, 10))
        self._attempts += 1
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311  Jitter is no secret.

    def succeeded(self) -> None:
        """The turn got through."""
        self._attempts = 0
        if self._trouble_since is not None:
            waited_s = round(time.monotonic() - self._trouble_since, 3)
            log.info("goes on", extra={"partner": self.partner.name, "waited_s": waited_s})
            self._trouble_since = None


class InboxLane(Stage):
    """A partner's inbox with its channel, and the turn that is taken in."""

    def __init__(self, partner: Partner) -> None:
        super().__init__()
        self.held: list[Message] = []
        self.slowed = False
        """Whether the turn would have been longer, but for the rate."""
        self.missing = False
        """Whether it was told that the broker has no such queue."""
        self.inbox, self.passing = self, PassingLane(self)
        self.become(partner)

    def become(self, partner: Partner) -> None:
        """Go by what the partner is now."""
        self.partner = self.passing.partner = partner
        self._bucket = TokenBucket(partner.rate_per_s, holds_s=BURST_S)
        self.turn_most = max(1, min(TURN_MOST, int(partner.rate_per_s * BURST_S)))
        """What the rate allows at once."""

    def empty(self) -> None:
        """Forget everything that is not acknowledged."""
        super().empty()
        self.passing.empty()
        self.held = []

    @property
    def idle(self) -> bool:
        """Whether a message that comes now may begin a turn."""
        return self.turn is None and self.due_at is None

    def begin(self, desk: Desk) -> None:
        """Make a turn of as many messages as the rate allows now, if that is any."""
        wanted = min(len(self.held), self.turn_most)
        allowed = self._bucket.take(wanted)
        self.slowed = allowed < wanted
        if allowed:
            self.turn = Turn(desk, self.partner, self.held[:allowed])
            del self.held[:allowed]

    def hand_over(self) -> bool:
        """Let the turn be passed on, if it is taken in and the one before it is through."""
        # As long as it is busy, somebody still has to hear how the taking in ended.
        if self.turn is None or self.busy or not self.turn.is_taken_in or self.passing.turn:
            return False
        self.passing.turn, self.turn = self.turn, None
        return True


class PassingLane(Stage):
    """The turn of an inbox that is passed on."""

    def __init__(self, inbox: InboxLane) -> None:
        super().__init__()
        self.inbox = inbox

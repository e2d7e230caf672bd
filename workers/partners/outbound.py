"""Events to the queues of partners, each confirmed by the broker."""

import logging
from collections.abc import Sequence
from typing import Final

from config.broker import Queue, outbox_queue
from domain.events import Event
from producers.messages import Outgoing
from producers.publisher import Publisher

log = logging.getLogger(__name__)

_CONFIRM_TIMEOUT_S: Final = 5.0


class Outbound:
    """Publishes events over one connection of its own; any number of threads may share it.

    It declares nothing: a partner's queue is made when the partner is.
    """

    def __init__(self, broker_url: str, confirm_timeout_s: float = _CONFIRM_TIMEOUT_S) -> None:
        self._publisher = Publisher(
            broker_url,
            name="outbound",
            confirm_timeout_s=confirm_timeout_s,
            declare=lambda _channel: None,
        )
        self._gone: set[str] = set()

    def publish(self, partner_name: str, events: Sequence[Event]) -> None:
        """Put events into a partner's queue, in order; the broker keeps them on return.

        A partner whose queue is gone finds its events at `GET /v1/events`: that stops nobody,
        is logged once, and counts as done.

        Raises: Unconfirmed if the broker has not promised to keep all of them. Any of them may
        have arrived; publish all of them again.
        """
        queue = outbox_queue(partner_name)
        outcomes = self._publisher.publish([_outgoing(queue, event) for event in events])
        for outcome in outcomes:
            if outcome is not None and outcome.reason != "returned":
                raise outcome
        self._note(partner_name, gone=any(outcomes))

    def close(self) -> None:
        """Wait for what is on its way, and disconnect. Final."""
        self._publisher.close()

    def _note(self, partner_name: str, *, gone: bool) -> None:
        if gone and partner_name not in self._gone:
            self._gone.add(partner_name)
            log.warning("a partner's queue is gone", extra={"partner": partner_name})
        elif not gone:
            self._gone.discard(partner_name)


def _outgoing(queue: Queue, event: Event) -> Outgoing:
    return Outgoing(
        exchange=queue.exchange,
        routing_key=queue.routing_key,
        body=event.document,
        message_id=event.id,
        type=event.type.value,
    )

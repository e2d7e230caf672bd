"""The partner's side of the demo: a bank that pays into wallets over its queue."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ops.demo.figures import Deposits, Latency
from ops.demo.progress import Advance, Steps
from ops.demo.traffic import Order
from ops.errors import OperatorError
from producers.partner import Event, Partner

_PATIENCE_S: Final = 60.0
"""Without a single further event for so long, the rest is called missing."""

_OUTCOMES: Final = ("instruction.succeeded", "instruction.rejected")


class Bank:
    """A partner: it has the URL that came with it, and the kit."""

    def __init__(self, broker_url: str, steps: Steps) -> None:
        self._broker_url = broker_url
        self._steps = steps
        self._sent_s: dict[str, float] = {}
        self._receipts_s: dict[str, float] = {}
        self._outcomes_s: dict[str, float] = {}
        self.ids: dict[str, str] = {}
        """The instruction's id for each key, as the receipts say."""
        self.views: dict[str, dict[str, Any]] = {}
        """Each deposit with its outcome, by key, as the queue told."""

    def pay_in(self, title: str, orders: Sequence[Order]) -> None:
        """Send deposits; return when each has an outcome, or when no more seem to come.

        Raises: OperatorError if one is refused, or the broker does not take them.
        """
        keys = {order.key for order in orders}
        try:
            # The kit ends before the sender is waited for, so that neither waits in vain.
            with (
                self._steps.step(title, len(orders)) as advance,
                ThreadPoolExecutor(1) as sender,
                Partner(self._broker_url) as partner,
            ):
                sending = sender.submit(self._send, partner, orders)
                for event in partner.events(quiet_s=_PATIENCE_S):
                    self._take(event, advance)
                    if keys <= self.views.keys():
                        event.done()
                        break
                sending.result()
        except TimeoutError as error:
            raise OperatorError(
                f"The broker has not taken the partner's deposits: {error}.",
                "Look at ./tekana status and at the logs in .run/logs",
            ) from None

    def figures(self) -> Deposits:
        """What is shown of it."""
        took_s = 0.0
        if self._outcomes_s:
            took_s = max(self._outcomes_s.values()) - min(self._sent_s.values())
        return Deposits(
            told=len(self.views),
            per_s=round(len(self.views) / took_s, 1) if took_s else None,
            receipt_latency=self._latency(self._receipts_s),
            outcome_latency=self._latency(self._outcomes_s),
        )

    def _send(self, partner: Partner, orders: Sequence[Order]) -> None:
        for order in orders:
            self._sent_s[order.key] = time.monotonic()
            partner.send(order.type, order.data, order.key)

    def _take(self, event: Event, advance: Advance) -> None:
        key = event.data.get("idempotency_key") or ""
        if event.type == "instruction.refused":
            raise OperatorError(
                f"The inbox refused {key}: {event.data['problem']['code']}.",
                "The demo sent what the inbox does not take: this is a defect; please report it.",
                detail=str(event.data["problem"]),
            )
        if event.type == "instruction.accepted":
            self.ids[key] = event.data["id"]
            self._receipts_s.setdefault(key, time.monotonic())
        elif event.type in _OUTCOMES and key not in self.views:
            self.views[key] = event.data
            self._outcomes_s[key] = time.monotonic()
            advance()

    def _latency(self, seen_s: dict[str, float]) -> Latency | None:
        return Latency.of([at_s - self._sent_s[key] for key, at_s in seen_s.items()])

"""The front door: a client of the API that writes down what it is told."""

import itertools
import time
from collections.abc import Sequence
from typing import Any, Final

import aiohttp

from bench.torture.callbacks import note_event
from bench.torture.journal import (
    ACCEPTED,
    FEED,
    FINAL,
    MISSING,
    UNKNOWN,
    Answered,
    Journal,
    Seen,
    Sent,
    refused,
)
from bench.torture.plan import Order

PATHS: Final = {
    "customer.open": "customers",
    "wallet.open": "wallets",
    "deposit": "deposits",
    "withdrawal": "withdrawals",
    "transfer": "transfers",
}

PATIENCE_S: Final = 10.0
"""Longer than any wait that is asked for; an answer that takes longer is none."""

_UNANSWERED: Final = (aiohttp.ClientError, TimeoutError, OSError, ValueError)

_attempts = itertools.count(1)


def next_attempt() -> int:
    """A number for a request or a publish that no other has."""
    return next(_attempts)


class Http:
    """One client's way to the API, by any of several addresses in turn."""

    door: Final = "http"

    def __init__(self, journal: Journal, client_id: int, key: str, addresses: Sequence[str]):
        self.client_id = client_id
        self.addresses = addresses
        self._journal = journal
        self._next = itertools.cycle(range(len(addresses)))
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"},
            timeout=aiohttp.ClientTimeout(total=PATIENCE_S, connect=3.0),
            connector=aiohttp.TCPConnector(limit=0),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def batch(self, orders: Sequence[Order]) -> list[str]:
        """Send orders as one batch, once; the verdict of each."""
        attempt = self._sending(orders)
        items = [{"idempotency_key": o.key, "type": o.type, "data": o.data} for o in orders]
        asked_at = time.monotonic()
        status, body = await self._call("POST", "batches", {"items": items})
        if status != 202:
            # A batch is refused as a whole only if it is malformed, and ours are not.
            verdict = UNKNOWN if status in (0, 503) or status >= 500 else refused(f"{status}")
            verdicts = [verdict] * len(orders)
        else:
            verdicts = [self._batched(each, asked_at) for each in body["items"]]
        self._answered(attempt, status, verdicts)
        return verdicts

    async def single(
        self, order: Order, wait_s: int = 0, address: int | None = None
    ) -> tuple[str, str]:
        """Send one order, once; its verdict, and its status if it was let in."""
        attempt = self._sending([order])
        headers = {"Idempotency-Key": order.key}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        asked_at = time.monotonic()
        status, body = await self._call("POST", PATHS[order.type], order.data, headers, address)
        state = ""
        if status in (200, 202):
            verdict, state = ACCEPTED, str(body["status"])
            self._journal.see(time.monotonic(), asked_at, "post", self.client_id, body)
        elif 400 <= status < 500:
            verdict = refused(body.get("code", str(status)))
        else:
            verdict = UNKNOWN
        self._answered(attempt, status, [verdict])
        return verdict, state

    async def poll(self, id_: str, wait_s: int = 0) -> str | None:
        """Ask once how an instruction stands; None if nobody could tell."""
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        asked_at = time.monotonic()
        status, body = await self._call("GET", f"instructions/{id_}", None, headers)
        now = time.monotonic()
        if status == 200:
            self._journal.see(now, asked_at, "poll", self.client_id, body)
            return str(body["status"])
        if status == 404:
            self._journal.seen.append(Seen(now, asked_at, "poll", self.client_id, id_, MISSING, ""))
            return MISSING
        self._note_status(status)
        return None

    async def add_endpoint(self, body: dict[str, Any]) -> str:
        """Be called back; the secret. Raises: RuntimeError unless it was made."""
        status, made = await self._call("POST", "callback-endpoints", body)
        if status != 201:
            raise RuntimeError(f"no endpoint was made: {status} {made}")
        return str(made["secret"])

    async def read_feed(self) -> None:
        """Read all events of this client, page by page."""
        cursor = ""
        while True:
            path = f"events?limit=200{f'&cursor={cursor}' if cursor else ''}"
            status, page = await self._call("GET", path, None)
            self._note_status(status)
            if status != 200:
                continue
            for event in page["data"]:
                note_event(self._journal, FEED, self.client_id, event)
            if not page["data"]:
                return
            cursor = page["next_cursor"]

    def _batched(self, answer: dict[str, Any], asked_at: float) -> str:
        if answer["status"] == "refused":
            return refused(answer["problem"]["code"])
        if answer["status"] in FINAL:
            now = time.monotonic()
            seen = Seen(now, asked_at, "batch", self.client_id, answer["id"], answer["status"], "")
            self._journal.seen.append(seen)
        return ACCEPTED

    def _sending(self, orders: Sequence[Order]) -> int:
        attempt = next_attempt()
        items = tuple(order.item(self.client_id) for order in orders)
        sent = Sent(time.monotonic(), attempt, self.door, self.client_id, items)
        self._journal.sent.append(sent)
        return attempt

    def _answered(self, attempt: int, status: int, verdicts: Sequence[str]) -> None:
        answered = Answered(time.monotonic(), attempt, status, tuple(verdicts))
        self._journal.answered.append(answered)

    def _note_status(self, status: int) -> None:
        if status >= 500:
            self._journal.answered.append(Answered(time.monotonic(), 0, status, ()))

    async def _call(
        self,
        method: str,
        path: str,
        body: Any,
        headers: dict[str, str] | None = None,
        address: int | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """The status and the document; status 0 if there was no answer."""
        place = next(self._next) if address is None else address
        url = f"{self.addresses[place]}/v1/{path}"
        try:
            async with self._session.request(method, url, json=body, headers=headers) as answer:
                return answer.status, await answer.json(content_type=None)
        except _UNANSWERED:
            return 0, {}

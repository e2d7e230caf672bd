"""A client's server that is called back: it checks, notes, and now and then it fails."""

import asyncio
import hashlib
import json
import random
import time
from base64 import b64decode
from typing import Any, Final

from aiohttp import web

from bench.torture.journal import CALLBACK, Journal, Listener, Told
from domain import signatures
from domain.events import EventType
from ops.stack.ports import HOST

_FAILS: Final = 0.005
_SLOW: Final = 0.02

RECEIPTS: Final = frozenset({EventType.ACCEPTED.value, EventType.REFUSED.value})
OUTCOMES: Final = frozenset({EventType.SUCCEEDED.value, EventType.REJECTED.value})


def note_event(journal: Journal, channel: str, client_id: int, event: dict[str, Any]) -> None:
    """Write down an event that came over some channel, and the outcome that it shows."""
    now = time.monotonic()
    data = event["data"]
    # A receipt is about a message: of a key that is sent again, it says when that was.
    said = None if event["type"] in RECEIPTS else event
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
    is_entry = event["type"] == EventType.ENTRY_POSTED.value
    about = data.get("instruction_id" if is_entry else "id") or ""
    journal.told.append(Told(now, channel, client_id, event["id"], event["type"], about, digest))
    if event["type"] in OUTCOMES:
        journal.see(now, now, channel, client_id, data)


class Receiver:
    """Takes callbacks of one client. `open` and `close` within the event loop."""

    def __init__(self, journal: Journal, client_id: int, chance: random.Random) -> None:
        self.port = 0
        self.secret = ""
        """As the API gave it, `whsec_…`; until it is set, everything is refused."""
        self._journal = journal
        self._client_id = client_id
        self._chance = chance
        app = web.Application()
        app.router.add_post("/", self._take)
        self._runner = web.AppRunner(app, access_log=None)

    async def open(self) -> None:
        """Listen on a port of its own."""
        self._journal.listeners.append(Listener(CALLBACK, self._client_id))
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not self._is_genuine(request, body):
            return web.Response(status=400)
        drawn = self._chance.random()
        if drawn < _SLOW:
            await asyncio.sleep(self._chance.uniform(0, 1))
        if drawn < _FAILS:
            return web.Response(status=500)
        note_event(self._journal, CALLBACK, self._client_id, json.loads(body))
        return web.Response(status=204)

    def _is_genuine(self, request: web.Request, body: bytes) -> bool:
        if not self.secret:
            return False
        secret = b64decode(self.secret.removeprefix("whsec_"))
        signed = signatures.sign(
            secret,
            request.headers["webhook-id"],
            int(request.headers["webhook-timestamp"]),
            body,
        )
        return signed in request.headers["webhook-signature"].split()

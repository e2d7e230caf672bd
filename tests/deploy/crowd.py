"""Clients that pay each other through the front door, and write down how each request went."""

import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

import requests

from tests.deploy.deployed import Deployed

_PATIENCE_S: Final = 20.0
_PAUSE_S: Final = 0.04
"""Between two payments of one client: eight of them are about 150 requests a second."""


@dataclass(frozen=True)
class Trouble:
    """A request that failed: what its sender saw, and from when to when (monotonic seconds)."""

    what: str
    began_s: float
    ended_s: float


@dataclass
class Client:
    """One thread, one connection that is kept, one wallet that it pays from."""

    deployed: Deployed
    wallet: str
    others: list[str]
    keys: list[str] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    slowest_s: float = 0.0

    def pay_until(self, enough: threading.Event) -> None:
        """Pay again and again; each payment is repeated with its key until it is accepted."""
        session = self.deployed.session()
        draw = random.Random(self.wallet)
        while not enough.is_set():
            self._pay(session, draw.choice([one for one in self.others if one != self.wallet]))
            time.sleep(_PAUSE_S)

    def _pay(self, session: requests.Session, to: str) -> None:
        key = str(uuid.uuid4())
        body = {
            "source_wallet_id": self.wallet,
            "destination_wallet_id": to,
            "amount": 1,
            "currency": "KES",
        }
        give_up_s = time.monotonic() + _PATIENCE_S
        while True:
            began_s = time.monotonic()
            what = self._post(session, key, body)
            ended_s = time.monotonic()
            self.slowest_s = max(self.slowest_s, ended_s - began_s)
            if not what:
                break
            self.troubles.append(Trouble(what, began_s, ended_s))
            assert ended_s < give_up_s, f"{key} was not accepted for {_PATIENCE_S} s: {what}"
            time.sleep(_PAUSE_S)
        self.keys.append(key)

    def _post(self, session: requests.Session, key: str, body: dict[str, object]) -> str:
        """Empty if it was accepted, else what went wrong."""
        try:
            answer = session.post(
                f"{self.deployed.url}/v1/transfers",
                json=body,
                headers={"Idempotency-Key": key},
                timeout=10,
            )
        except requests.RequestException as error:
            return type(error).__name__
        if answer.status_code in (200, 202):
            return ""
        assert answer.status_code >= 500, answer.text
        return str(answer.status_code)


class Crowd:
    """Several clients at once, each with a wallet of its own that has money."""

    def __init__(self, deployed: Deployed, size: int) -> None:
        self._deployed = deployed
        wallets = [open_wallet(deployed, 1_000_000) for _ in range(size)]
        self.clients = [Client(deployed, wallet, wallets) for wallet in wallets]
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(client,)) for client in self.clients
        ]
        self._errors: list[BaseException] = []

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    @property
    def keys(self) -> list[str]:
        """The key of each payment that was accepted."""
        return [key for client in self.clients for key in client.keys]

    @property
    def troubles(self) -> list[Trouble]:
        """Each request that failed, in the order of time."""
        found = [trouble for client in self.clients for trouble in client.troubles]
        return sorted(found, key=lambda trouble: trouble.began_s)

    def _guarded(self, client: Client) -> None:
        try:
            client.pay_until(self._enough)
        except BaseException as error:  # noqa: BLE001  Told when the crowd is joined.
            self._errors.append(error)


def open_wallet(deployed: Deployed, balance: int) -> str:
    """A new customer's wallet with money in it, through the front door."""
    session = deployed.session()
    opened = posted(
        deployed,
        session,
        "customers",
        {"name": "Ama", "phone": "+254700000001", "country": "KE", "currencies": ["KES"]},
    )
    wallet: str = opened["result"]["wallets"][0]["wallet_id"]
    posted(
        deployed,
        session,
        "deposits",
        {"wallet_id": wallet, "amount": balance, "currency": "KES"},
    )
    return wallet


def posted(
    deployed: Deployed, session: requests.Session, route: str, body: dict[str, object]
) -> dict[str, Any]:
    """The instruction with its outcome, which must be a success."""
    answer = session.post(
        f"{deployed.url}/v1/{route}",
        json=body,
        headers={"Idempotency-Key": str(uuid.uuid4()), "Prefer": "wait=10"},
        timeout=15,
    )
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    assert shown["status"] == "succeeded", shown
    return shown

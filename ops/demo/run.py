"""The demo itself: open, fund, spend, look, and compare with the file."""

import secrets
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from ops.demo.deposits import Bank
from ops.demo.figures import Figures, Latency
from ops.demo.http import Api
from ops.demo.progress import Steps
from ops.demo.replay import SUCCEEDED, Replay, replay
from ops.demo.rows import CURRENCY, Row
from ops.demo.traffic import Order, Traffic
from ops.errors import OperatorError

_SINGLES_MOST: Final = 500
_HOTTEST: Final = 5
_NAMED_MOST: Final = 10


def new_run_id() -> str:
    """A name that no earlier run has: it is in every idempotency key, and so in every id."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


class Run:
    """One run: new customers, new wallets, and the rows between them."""

    def __init__(self, run_id: str, api: Api, bank: Bank, steps: Steps) -> None:
        self._id = run_id
        self._api = api
        self._bank = bank
        self._traffic = Traffic(api, steps)
        self.statuses: dict[str, str] = {}
        """The outcome of each instruction that was sent over HTTP, by its id."""

    def follow(self, rows: Sequence[Row], file_name: str) -> Figures:
        """Do all of it; what disagrees is in the figures. Raises: OperatorError."""
        begun = time.monotonic()
        expected = replay(rows)
        figures = Figures(self._id, file_name, len(rows), len(expected.balances))
        wallets = self._open(list(expected.balances))
        self._fund(rows, wallets, figures)
        self._spend(rows, wallets, expected, figures)
        self._compare_balances(rows, wallets, expected, figures)
        figures.repeats = self._api.repeats
        figures.seconds = round(time.monotonic() - begun, 1)
        return figures

    def _open(self, names: Sequence[str]) -> dict[str, str]:
        """A customer with a wallet for each name; wallet ids by name."""
        orders = [
            Order(
                self._key("open", name),
                "customer.open",
                {
                    "customer_id": str(uuid.uuid5(uuid.NAMESPACE_URL, self._key("is", name))),
                    "name": name,
                    "email": f"{name.lower()}@paysim.example",
                    "country": "KE",
                    "legacy_id": name,
                    "currencies": [CURRENCY],
                },
                name,
            )
            for name in names
        ]
        ids = self._traffic.send("Opening customers with a wallet", orders)
        # A transfer into a wallet has no promised place, so all wallets must be there first.
        views = self._succeeded("Awaiting their outcomes", ids)
        return {
            order.wallet: views[order.key]["result"]["wallets"][0]["wallet_id"] for order in orders
        }

    def _fund(self, rows: Sequence[Row], wallets: dict[str, str], figures: Figures) -> None:
        """What the origins hold at first, paid in by a partner."""
        first = {row.origin: row.opening_minor for row in reversed(rows)}
        orders = [
            Order(self._key("fund", name), "deposit", self._cash(wallets[name], minor), name)
            for name, minor in first.items()
            if minor
        ]
        self._bank.pay_in("Funding the origins, by a partner", orders)
        figures.deposits = self._bank.figures()
        for order in orders:
            view = self._bank.views.get(order.key)
            outcome = "no outcome" if view is None else _outcome(view)
            if outcome != SUCCEEDED:
                figures.disagreements.append(f"deposit {order.key}: {outcome} at the partner")

    def _spend(
        self, rows: Sequence[Row], wallets: dict[str, str], expected: Replay, figures: Figures
    ) -> None:
        """Most rows in batches, the last ones one by one, as a front-end would."""
        orders = [self._order(row, wallets) for row in rows]
        singly = min(_SINGLES_MOST, len(rows) // 10)
        batched = orders[: len(orders) - singly]
        ids = self._traffic.send("Sending the rows in batches", batched)
        views = self._traffic.outcomes("Polling the outcomes", ids)
        figures.time(list(views.values()))
        answered = self._traffic.send_single(
            "Sending the last rows one by one", orders[len(batched) :]
        )
        figures.single_latency = Latency.of([each.waited_s for each in answered.values()])
        views |= {key: each.view for key, each in answered.items()}
        figures.accepted = len(views)
        figures.count(list(views.values()))
        self._note(views)
        for row in rows:
            outcome = _outcome(views[self._key("row", row.number)])
            if outcome != expected.outcomes[row.number]:
                figures.disagreements.append(
                    f"row {row.number}: {outcome}, and by the file {expected.outcomes[row.number]}"
                )

    def _compare_balances(
        self, rows: Sequence[Row], wallets: dict[str, str], expected: Replay, figures: Figures
    ) -> None:
        paths = {name: f"/v1/wallets/{wallet_id}" for name, wallet_id in wallets.items()}
        found = self._traffic.read("Reading every balance", paths)
        for name, balance in expected.balances.items():
            wallet = found[name]
            if wallet is None or (wallet["balance"], wallet["currency"]) != (balance, CURRENCY):
                shown = None if wallet is None else f"{wallet['balance']} {wallet['currency']}"
                figures.disagreements.append(
                    f"wallet {wallets[name]} of {name}: {shown}, and by the file "
                    f"{balance} {CURRENCY}"
                )
        figures.hottest = [
            {"name": name, "rows": count, "entries": wallet["seq"], "balance": wallet["balance"]}
            for name, count in _rows_by_name(rows).most_common(_HOTTEST)
            if (wallet := found[name]) is not None
        ]

    def _succeeded(self, title: str, ids: dict[str, str]) -> dict[str, dict[str, Any]]:
        """The outcomes of what must succeed before anything else makes sense."""
        views = self._traffic.outcomes(title, ids)
        self._note(views)
        failed = [key for key, view in views.items() if _outcome(view) != SUCCEEDED]
        if failed:
            named = ", ".join(failed[:_NAMED_MOST])
            raise OperatorError(
                f"{len(failed)} instructions were rejected that should not be: {named}.",
                detail=_outcome(views[failed[0]]),
            )
        return views

    def _note(self, views: dict[str, dict[str, Any]]) -> None:
        self.statuses |= {view["id"]: view["status"] for view in views.values()}

    def _order(self, row: Row, wallets: dict[str, str]) -> Order:
        if row.destination is None:
            data = self._cash(wallets[row.origin], row.amount_minor)
        else:
            data = {
                "source_wallet_id": wallets[row.origin],
                "destination_wallet_id": wallets[row.destination],
                "amount": row.amount_minor,
                "currency": CURRENCY,
            }
        data["reference"] = f"PaySim row {row.number}"
        return Order(self._key("row", row.number), row.type, data, row.origin)

    def _cash(self, wallet_id: str, amount_minor: int) -> dict[str, Any]:
        return {"wallet_id": wallet_id, "amount": amount_minor, "currency": CURRENCY}

    def _key(self, *parts: object) -> str:
        return ":".join((self._id, *map(str, parts)))


def _rows_by_name(rows: Sequence[Row]) -> Counter[str]:
    """How many rows name each wallet."""
    names = Counter(row.origin for row in rows)
    names.update(row.destination for row in rows if row.destination is not None)
    return names


def _outcome(view: dict[str, Any]) -> str:
    rejection = view["rejection"]
    return str(rejection["code"]) if rejection else str(view["status"])

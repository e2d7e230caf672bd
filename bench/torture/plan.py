"""What clients ask for, drawn from a seed: all types, hot wallets, mistakes, repeats, misuse.

Pure: a plan knows no network and no clock but the times it is given.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import NAMESPACE_OID, uuid5

from bench.torture.journal import Item
from domain.fields import timestamp_text
from domain.identity import derived_id, fingerprint, instruction_id

MAIN_CURRENCY: Final = "KES"
OTHER_CURRENCY: Final = "RWF"

_REMEMBERED: Final = 400
"""Instructions of the past that may be repeated."""


class Wallet(NamedTuple):
    """A wallet that money can be sent from or to."""

    id: str
    currency: str


class Order(NamedTuple):
    """One instruction as a client writes it. `sound` as in `bench.torture.journal.Item`."""

    key: str
    type: str
    data: dict[str, Any]
    sound: bool = True

    def item(self, client_id: int) -> Item:
        """As the journal knows it."""
        return Item(
            instruction_id(client_id, self.key),
            fingerprint(self.type, self.data),
            order_key(self),
            self.sound,
        )


@dataclass(slots=True)
class Past:
    """What a client has asked for lately, through whichever door; shared by its lanes."""

    orders: deque[Order] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def remember(self, order: Order) -> None:
        """Keep an order for repeats."""
        self.orders.append(order)


@dataclass(slots=True)
class Plan:
    """The orders of one lane, which alone debits its wallets; credits go anywhere."""

    lane: str
    client_id: int
    chance: random.Random
    own: list[Wallet]
    customers: list[str]
    others: list[Wallet]
    hot: list[Wallet]
    foreign: list[Wallet]
    """Wallets that this client may credit and must not debit."""
    past: Past
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _count: int = 0

    def take(self, count: int) -> list[Order]:
        """The next orders, in order."""
        return [self._next() for _ in range(count)]

    def customer_orders(self, count: int) -> list[Order]:
        """So many customers to begin with."""
        return [self._customer() for _ in range(count)]

    def deposit_order(self, wallet: Wallet, amount: int) -> Order:
        """Money to begin with."""
        data = {"wallet_id": wallet.id, "amount": amount, "currency": wallet.currency}
        return Order(self._key(), "deposit", data)

    def canary(self, wallet: Wallet, destination: Wallet) -> Order:
        """A transfer of 1, to see whether money flows."""
        data = _transfer(wallet, destination, 1)
        return Order(self._key(), "transfer", data)

    def opened(self, order: Order) -> None:
        """An opening has succeeded: what it opened may be used from now on."""
        if order.type == "customer.open":
            id_ = instruction_id(self.client_id, order.key)
            self.customers.append(order.data["customer_id"])
            self.own += [
                Wallet(derived_id("wallet", id_, place), currency)
                for place, currency in enumerate(order.data["currencies"])
            ]
        else:
            self.own.append(Wallet(order.data["wallet_id"], order.data["currency"]))

    def _next(self) -> Order:
        kind = self.chance.choices(_KINDS, _WEIGHTS)[0]
        order = kind(self)
        if order.sound:
            self.past.remember(order)
        return order

    def _key(self) -> str:
        self._count += 1
        return f"{self.lane}-{self._count}"

    def _transfer(self) -> Order:
        source = self._source()
        pool = self.hot if self.chance.random() < 0.4 else self.others
        drawn = self.chance.choice(pool)
        for _ in range(10):
            if drawn.currency == source.currency and drawn.id != source.id:
                break
            drawn = self.chance.choice(self.others)
        data = _transfer(source, drawn, self._amount())
        return Order(self._key(), "transfer", self._adorned(data))

    def _deposit(self) -> Order:
        return Order(self._key(), "deposit", self._adorned(self._settled(self._amount() * 3)))

    def _withdrawal(self) -> Order:
        return Order(self._key(), "withdrawal", self._adorned(self._settled(self._amount())))

    def _customer(self) -> Order:
        key = self._key()
        data: dict[str, Any] = {
            "customer_id": _chosen_id("customer", self.client_id, key),
            "name": "Torture Customer",
            "phone": "+254700000001",
            "country": "KE",
        }
        chosen = [MAIN_CURRENCY] if self.chance.random() < 0.7 else [MAIN_CURRENCY, OTHER_CURRENCY]
        return Order(key, "customer.open", data | {"currencies": chosen})

    def _wallet(self) -> Order:
        key = self._key()
        data = {
            "wallet_id": _chosen_id("wallet", self.client_id, key),
            "customer_id": self.chance.choice(self.customers),
            "currency": MAIN_CURRENCY,
        }
        return Order(key, "wallet.open", data)

    def _mistake(self) -> Order:
        """Well-formed, and bound to be rejected, or nearly so."""
        source = self._source()
        far = Wallet(derived_id("nobody", self.chance.random()), source.currency)
        other = self.chance.choice(self.others)
        match self.chance.randrange(7):
            case 0:
                data = _transfer(source, source, 1)
            case 1:
                data = _transfer(source, far, 1)
            case 2:
                data = _transfer(far, other, 1)
            case 3:
                data = _transfer(source, other, 10**12)
            case 4:
                data = _transfer(source, other, 1) | {"currency": "USD"}
            case 5:
                stranger = self.chance.choice(self.foreign) if self.foreign else far
                data = _transfer(stranger, source, 1)
            case _:
                # Around now, so that some are decided before and some after.
                at = self.now() + timedelta(seconds=self.chance.uniform(-5, 5))
                moment = at.replace(microsecond=at.microsecond // 1000 * 1000)
                data = _transfer(source, other, 1) | {"expires_at": timestamp_text(moment)}
        return Order(self._key(), "transfer", data)

    def _again(self) -> Order:
        """The same key and the same body as some time ago."""
        if not self.past.orders:
            return self._transfer()
        return self.chance.choice(self.past.orders)

    def _misuse(self) -> Order:
        """A key of some time ago with another body, for another partition as likely as not."""
        if not self.past.orders:
            return self._transfer()
        misused = self.chance.choice(self.past.orders)
        data = _transfer(self._source(), self.chance.choice(self.others), self._amount() + 1000)
        return Order(misused.key, "transfer", data, sound=False)

    def _nonsense(self) -> Order:
        """What no door may let in."""
        source, other = self._source(), self.chance.choice(self.others)
        data = _transfer(source, other, 1)
        match self.chance.randrange(4):
            case 0:
                data["amount"] = 0
            case 1:
                data["currency"] = "ZZZ"
            case 2:
                del data["destination_wallet_id"]
            case _:
                data["surprise"] = True
        return Order(self._key(), "transfer", data, sound=False)

    def _source(self) -> Wallet:
        return self.chance.choice(self.own)

    def _amount(self) -> int:
        return min(10**6, int(self.chance.paretovariate(1.1)))

    def _settled(self, amount: int) -> dict[str, Any]:
        wallet = self._source()
        return {"wallet_id": wallet.id, "amount": amount, "currency": wallet.currency}

    def _adorned(self, data: dict[str, Any]) -> dict[str, Any]:
        if self.chance.random() < 0.2:
            data["reference"] = f"Ref {self.chance.randrange(10**6)} \N{EURO SIGN}"
        if self.chance.random() < 0.1:
            data["metadata"] = {"order": str(self.chance.randrange(10**6))}
        return data


def order_key(order: Order) -> str:
    """The wallet or customer in whose line an order stands."""
    data = order.data
    match order.type:
        case "transfer":
            return str(data["source_wallet_id"])
        case "customer.open":
            return str(data["customer_id"])
        case _:
            return str(data["wallet_id"])


def wallets_of(orders: list[Order], client_id: int) -> Iterator[Wallet]:
    """The wallets that openings of customers open."""
    for order in orders:
        id_ = instruction_id(client_id, order.key)
        for place, currency in enumerate(order.data["currencies"]):
            yield Wallet(derived_id("wallet", id_, place), currency)


def _chosen_id(kind: str, client_id: int, key: str) -> str:
    """An id as a caller chooses it: of a version that is not ours."""
    return str(uuid5(NAMESPACE_OID, f"{kind} {client_id} {key}"))


def _transfer(source: Wallet, destination: Wallet, amount: int) -> dict[str, Any]:
    return {
        "source_wallet_id": source.id,
        "destination_wallet_id": destination.id,
        "amount": amount,
        "currency": source.currency,
    }


_TABLE: Final[tuple[tuple[Callable[[Plan], Order], int], ...]] = (
    (Plan._transfer, 55),
    (Plan._deposit, 15),
    (Plan._withdrawal, 12),
    (Plan._customer, 1),
    (Plan._wallet, 2),
    (Plan._mistake, 7),
    (Plan._again, 4),
    (Plan._misuse, 2),
    (Plan._nonsense, 2),
)
_KINDS: Final = [kind for kind, _ in _TABLE]
_WEIGHTS: Final = [weight for _, weight in _TABLE]

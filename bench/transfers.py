"""Transfers to measure with: who pays whom is drawn, never computed while the clock runs.

Each has a key of 20 characters and a reference of 20, as the ledger's rows do in earnest.
"""

import hashlib
import itertools
import random
from bisect import bisect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, cast

from domain.fields import timestamp_text
from domain.identity import partition_of
from domain.instructions import Transfer, TransferData, instruct

CURRENCY: Final = "KES"
_KEY_PREFIX_LENGTH: Final = 9

Draw = Callable[[], int]
"""The number of a wallet."""


def wallet_id(number: int) -> str:
    """The id of a wallet of the bench; `bench.books` computes the same in SQL."""
    text = hashlib.md5(b"wallet %d" % number, usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def uniform(wallets: int, chance: random.Random) -> Draw:
    """Every wallet is as likely as any other."""
    return lambda: int(chance.random() * wallets)


def zipf(wallets: int, chance: random.Random, exponent: float = 1.0) -> Draw:
    """The wallet numbered k - 1 is drawn in proportion to 1 / k^exponent."""
    weights = (1 / rank**exponent for rank in range(1, wallets + 1))
    cumulative = list(itertools.accumulate(weights))
    total = cumulative[-1]
    return lambda: bisect(cumulative, chance.random() * total)


def always(number: int) -> Draw:
    """The same wallet each time."""
    return lambda: number


class Transfers:
    """Makes transfers of one client, no key twice."""

    def __init__(self, client_id: int, partitions: int, chance: random.Random) -> None:
        self.client_id = client_id
        self.partitions = partitions
        self._chance = chance
        prefix = f"{chance.getrandbits(36):0{_KEY_PREFIX_LENGTH}x}"
        self._keys = (f"{prefix}-{number:010d}" for number in itertools.count())

    def data(self, source: Draw, destination: Draw) -> dict[str, str | int]:
        """The body of one transfer between two wallets, as JSON would give it."""
        payer = payee = source()
        while payee == payer:
            payee = destination()
            # With one payee for all, somebody else has to pay.
            payer = source() if payee == payer else payer
        return {
            "source_wallet_id": wallet_id(payer),
            "destination_wallet_id": wallet_id(payee),
            "amount": 1 + int(self._chance.random() * 100),
            "currency": CURRENCY,
            "reference": f"rent {self._chance.getrandbits(50):015d}"[:20],
        }

    def key(self) -> str:
        """A key of 20 characters that was not given before."""
        return next(self._keys)

    def one(self, source: Draw, destination: Draw) -> Transfer:
        """One transfer, as a worker has it after decoding."""
        data = TransferData.model_validate(self.data(source, destination))
        now = timestamp_text(datetime.now(UTC))
        made = instruct(self.client_id, self.key(), data, "transfer", now)
        assert made.id  # It is computed once, and a worker has it from reading the message.
        return cast(Transfer, made)

    def many(self, count: int, source: Draw, destination: Draw) -> list[Transfer]:
        """So many transfers of any partition."""
        return [self.one(source, destination) for _ in range(count)]

    def batches(
        self, size: int, source: Draw, destination: Draw
    ) -> Iterator[tuple[int, list[Transfer]]]:
        """Endless full batches, each of one partition, with its number."""
        waiting: list[list[Transfer]] = [[] for _ in range(self.partitions)]
        while True:
            transfer = self.one(source, destination)
            partition = partition_of(transfer.partition_key, self.partitions)
            waiting[partition].append(transfer)
            if len(waiting[partition]) == size:
                yield partition, waiting[partition]
                waiting[partition] = []

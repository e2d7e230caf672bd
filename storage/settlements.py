"""Settlement accounts: where a client's money comes from and goes to, by currency.

One account is several wallets, a stripe for each partition, so that partitions never wait
for each other. An account with a floor is one wallet, because its floor is one number.

A stripe is known by what it is for. Its id is drawn by lot: callers may choose the ids of
their wallets, and whoever could tell a stripe's id beforehand could open a wallet in its place.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Engine, text

from domain.instructions import Instruction, is_settlement

FLOOR: Final = text("""
    SELECT floor FROM settlement_floors WHERE client_id = :client_id AND currency = :currency
""")

OPEN_STRIPE: Final = text("""
    INSERT INTO wallets (id, client_id, currency, stripe, floor, balance, seq, opened_at)
    VALUES (gen_random_uuid(), :client_id, :currency, :stripe, :floor, 0, 0, now())
    ON CONFLICT (client_id, currency, stripe) WHERE customer_id IS NULL DO NOTHING
""")

STRIPE: Final = text("""
    SELECT id FROM wallets
    WHERE client_id = :client_id AND currency = :currency AND stripe = :stripe
      AND customer_id IS NULL
""")


class Settlements:
    """Finds the settlement account of a client in one partition, and opens it when new."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[tuple[int, str, int], str] = {}

    def needed_by(
        self, instructions: Iterable[Instruction], partition: int
    ) -> dict[tuple[int, str], str]:
        """Wallet ids by client and currency. All of them are committed on return."""
        names = {
            (instruction.client_id, instruction.data.currency)
            for instruction in filter(is_settlement, instructions)
        }
        return {name: self._stripe(*name, partition) for name in names}

    def _stripe(self, client_id: int, currency: str, partition: int) -> str:
        place = (client_id, currency, partition)
        if place not in self._known:
            self._known[place] = self._open(client_id, currency, partition)
        return self._known[place]

    def _open(self, client_id: int, currency: str, partition: int) -> str:
        account = {"client_id": client_id, "currency": currency}
        with self._engine.begin() as connection:
            floor = connection.scalar(FLOOR, account)
            stripe = account | {"stripe": partition if floor is None else 0}
            connection.execute(OPEN_STRIPE, stripe | {"floor": floor})
            return str(connection.execute(STRIPE, stripe).scalar_one())

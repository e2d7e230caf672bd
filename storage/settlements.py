"""Settlement accounts: where a client's money comes from and goes to, by currency.

One account is several wallets, a stripe for each partition, so that partitions never wait
for each other. An account with a floor is one wallet, because its floor is one number.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Engine, text

from domain.identity import settlement_wallet_id
from domain.instructions import Deposit, Instruction, Withdrawal

FLOOR: Final = text("""
    SELECT floor FROM settlement_floors WHERE client_id = :client_id AND currency = :currency
""")

OPEN_STRIPE: Final = text("""
    INSERT INTO wallets (id, client_id, currency, stripe, floor, balance, seq, opened_at)
    VALUES (:id, :client_id, :currency, :stripe, :floor, 0, 0, now())
    ON CONFLICT (id) DO NOTHING
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
            for instruction in instructions
            if isinstance(instruction, Deposit | Withdrawal)
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
            stripe = partition if floor is None else 0
            wallet_id = settlement_wallet_id(client_id, currency, stripe)
            stored = account | {"id": wallet_id, "stripe": stripe, "floor": floor}
            connection.execute(OPEN_STRIPE, stored)
        return wallet_id

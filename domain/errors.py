"""Faults of the ledger itself: never the caller's doing, never stored as an answer."""


class LedgerFault(Exception):
    """The ledger is wrong, not the caller."""

    def __init__(self, **context: object) -> None:
        super().__init__(f"{self.__doc__} {context}")
        self.context = context


class SettlementMissing(LedgerFault):
    """The books were loaded without a settlement account that an instruction needs."""


class SettlementForeign(LedgerFault):
    """What the books take for a settlement account is a customer's wallet, or another's."""

"""Short words for instructions and books, for tests that are about money."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from domain.books import Books, Posting, Wallet, WalletStatus
from domain.fields import timestamp_text
from domain.identity import derived_id
from domain.instructions import (
    DATA,
    CustomerOpen,
    Deposit,
    Instruction,
    Transfer,
    WalletOpen,
    Withdrawal,
    instruct,
)

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
CLIENT = 1
OTHER_CLIENT = 2


def wallet_id(name: str) -> str:
    return str(uuid5(NAMESPACE_OID, f"wallet {name}"))


def customer_id(name: str) -> str:
    return str(uuid5(NAMESPACE_OID, f"customer {name}"))


def an_instruction(
    type_: str, key: object, client_id: int = CLIENT, *, data: dict[str, Any]
) -> Instruction:
    decoded = DATA[type_].model_validate(data)
    return instruct(client_id, str(key), decoded, type_, timestamp_text(NOW - timedelta(seconds=1)))


def transfer(
    key: object, source: str, destination: str, amount: int, currency: str = "KES", **more: Any
) -> Transfer:
    client_id = more.pop("client_id", CLIENT)
    made = an_instruction(
        "transfer",
        key,
        client_id,
        data={
            "source_wallet_id": wallet_id(source),
            "destination_wallet_id": wallet_id(destination),
            "amount": amount,
            "currency": currency,
            **more,
        },
    )
    assert isinstance(made, Transfer)
    return made


def deposit(key: object, wallet: str, amount: int, currency: str = "KES", **more: Any) -> Deposit:
    client_id = more.pop("client_id", CLIENT)
    made = an_instruction(
        "deposit",
        key,
        client_id,
        data={"wallet_id": wallet_id(wallet), "amount": amount, "currency": currency, **more},
    )
    assert isinstance(made, Deposit)
    return made


def withdrawal(
    key: object, wallet: str, amount: int, currency: str = "KES", **more: Any
) -> Withdrawal:
    client_id = more.pop("client_id", CLIENT)
    made = an_instruction(
        "withdrawal",
        key,
        client_id,
        data={"wallet_id": wallet_id(wallet), "amount": amount, "currency": currency, **more},
    )
    assert isinstance(made, Withdrawal)
    return made


def open_customer(key: object, name: str, client_id: int = CLIENT, **more: Any) -> CustomerOpen:
    data = {"customer_id": customer_id(name), "name": name, "phone": "+254700000001"}
    made = an_instruction("customer.open", key, client_id, data={**data, "country": "KE", **more})
    assert isinstance(made, CustomerOpen)
    return made


def open_wallet(
    key: object, name: str, customer: str, currency: str = "KES", client_id: int = CLIENT
) -> WalletOpen:
    made = an_instruction(
        "wallet.open",
        key,
        client_id,
        data={
            "wallet_id": wallet_id(name),
            "customer_id": customer_id(customer),
            "currency": currency,
        },
    )
    assert isinstance(made, WalletOpen)
    return made


def a_wallet(
    name: str,
    balance: int = 0,
    currency: str = "KES",
    client_id: int = CLIENT,
    status: WalletStatus = WalletStatus.OPEN,
) -> Wallet:
    wallet = wallet_id(name)
    return Wallet(wallet, client_id, customer_id(name), currency, status, balance, 0, 0)


def a_settlement(
    currency: str = "KES", client_id: int = CLIENT, balance: int = 0, floor: int | None = None
) -> Wallet:
    wallet = derived_id("settlement", client_id, currency)
    return Wallet(wallet, client_id, None, currency, WalletStatus.OPEN, balance, 0, floor)


def books_with(*wallets: Wallet, **balances: int) -> Books:
    """Books with these wallets, one for each named balance, and unlimited settlement."""
    held = [*wallets, *(a_wallet(name, balance) for name, balance in balances.items())]
    settlements = {(w.client_id, w.currency): w.id for w in held if w.customer_id is None}
    for client_id in (CLIENT, OTHER_CLIENT):
        for currency in ("KES", "RWF"):
            if (client_id, currency) not in settlements:
                account = a_settlement(currency, client_id)
                settlements[client_id, currency] = account.id
                held.append(account)
    customers = {w.customer_id: w.client_id for w in held if w.customer_id is not None}
    return Books({w.id: w for w in held}, customers, settlements=settlements)


def after(books: Books, posting: Posting) -> Books:
    """The books once a posting is stored."""
    decided = {d.outcome.instruction_id: d.outcome for d in posting.decided()}
    return Books(
        {**books.wallets, **posting.wallets},
        {**books.customers, **posting.customers},
        {**books.outcomes, **decided},
        books.grants,
        books.settlements,
    )

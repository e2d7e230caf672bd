"""One transfer, one transaction."""

from typing import TypedDict

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from bench.plain.tables import Account, Entry, Transfer


class Order(TypedDict):
    """A transfer as it is asked for; the amount in minor units."""

    idempotency_key: str
    source_wallet_id: str
    destination_wallet_id: str
    amount: int
    currency: str
    reference: str


class Result(TypedDict):
    """What became of it: `succeeded` or `rejected`."""

    status: str


def post(sessions: sessionmaker[Session], order: Order) -> Result:
    """Move the money, or reject; a key that was used before keeps its first result."""
    try:
        with sessions.begin() as session:
            return {"status": _post(session, order)}
    except IntegrityError:
        # The unique key: it was posted already, perhaps a moment ago by somebody else.
        with sessions() as session:
            first = select(Transfer).where(Transfer.idempotency_key == order["idempotency_key"])
            return {"status": session.scalars(first).one().status}


def _post(session: Session, order: Order) -> str:
    """Lock both accounts in the order of their ids, so that no two transfers wait in a circle."""
    ids = (order["source_wallet_id"], order["destination_wallet_id"])
    locking = select(Account).where(Account.id.in_(ids)).order_by(Account.id).with_for_update()
    accounts = {account.id: account for account in session.scalars(locking)}
    source, destination = (accounts.get(each) for each in ids)
    transfer = Transfer(
        idempotency_key=order["idempotency_key"],
        source_id=ids[0],
        destination_id=ids[1],
        amount=order["amount"],
        reference=order["reference"],
        status="rejected",
    )
    session.add(transfer)
    if (
        source is None
        or destination is None
        or source is destination
        or {source.currency, destination.currency} != {order["currency"]}
        or source.balance - order["amount"] < source.floor
    ):
        return transfer.status
    transfer.status = "succeeded"
    for account, amount in ((source, -order["amount"]), (destination, order["amount"])):
        account.balance += amount
        entry = Entry(account_id=account.id, amount=amount, balance=account.balance)
        transfer.entries.append(entry)
    return transfer.status

"""What a client may see. Another client's things are not there: None, or an empty page."""

from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, text

from domain.books import Entry
from domain.fields import timestamp_text
from domain.instructions import Instruction, Undecodable, decode
from domain.money import EXPONENTS
from domain.views import queued_view
from storage.shown import SHOWN_INSTRUCTIONS, entry_view, instruction_view

INSTRUCTION: Final = text(f"""
    {SHOWN_INSTRUCTIONS}
    WHERE instruction.id = CAST(:id AS uuid) AND instruction.client_id = :client_id
""")

PARKED: Final = text("""
    SELECT body FROM parked
    WHERE instruction_id = CAST(:id AS uuid) AND resolution IS NULL
    ORDER BY id LIMIT 1
""")

CUSTOMER: Final = text("""
    SELECT * FROM customers WHERE id = CAST(:id AS uuid) AND client_id = :client_id
""")

CUSTOMERS_BY_LEGACY_ID: Final = text("""
    SELECT * FROM customers
    WHERE client_id = :client_id AND legacy_id = :legacy_id
      AND id > CAST(coalesce(:after, '00000000-0000-0000-0000-000000000000') AS uuid)
    ORDER BY id LIMIT :limit
""")

_MAY_READ: Final = """
    wallets.customer_id IS NOT NULL AND (wallets.client_id = :client_id OR EXISTS (
        SELECT FROM grants
        WHERE grants.wallet_id = wallets.id AND grants.client_id = :client_id))
"""

WALLET: Final = text(f"""
    SELECT * FROM wallets WHERE id = CAST(:id AS uuid) AND {_MAY_READ}
""")  # noqa: S608  # The only text put in is the constant above.

WALLETS_OF_CUSTOMER: Final = text(f"""
    SELECT * FROM wallets
    WHERE customer_id = CAST(:customer_id AS uuid) AND {_MAY_READ}
      AND id > CAST(coalesce(:after, '00000000-0000-0000-0000-000000000000') AS uuid)
    ORDER BY id LIMIT :limit
""")  # noqa: S608

# Each side has its own index on (wallet, seq); the two are merged by seq.
_ENTRIES: Final = """
    (SELECT source_seq AS seq, -amount AS amount, source_balance AS balance,
            destination_wallet_id AS counterparty, {columns}
     FROM instructions
     WHERE source_wallet_id = CAST(:wallet_id AS uuid) AND source_balance IS NOT NULL
       AND source_seq {bound}
     ORDER BY source_seq {order} LIMIT :limit)
    UNION ALL
    (SELECT destination_seq, amount, destination_balance, source_wallet_id, {columns}
     FROM instructions
     WHERE destination_wallet_id = CAST(:wallet_id AS uuid) AND destination_balance IS NOT NULL
       AND destination_seq {bound}
     ORDER BY destination_seq {order} LIMIT :limit)
    ORDER BY seq {order} LIMIT :limit
"""

_ENTRY_COLUMNS: Final = "id, client_id, type, currency, reference, metadata, decided_at"

ENTRIES_NEWEST_FIRST: Final = text(
    _ENTRIES.format(columns=_ENTRY_COLUMNS, bound="< :bound", order="DESC")
)
ENTRIES_OLDEST_FIRST: Final = text(
    _ENTRIES.format(columns=_ENTRY_COLUMNS, bound="> :bound", order="ASC")
)

_SEQ_END: Final = 2**63 - 1


def ready(engine: Engine) -> None:
    """Return if Postgres answers; raise the driver's error otherwise."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def instruction(engine: Engine, client_id: int, instruction_id: str) -> dict[str, Any] | None:
    """A client's own instruction that is decided or parked, as `domain.views` shows it."""
    named = {"client_id": client_id, "id": instruction_id}
    with engine.connect() as connection:
        row = connection.execute(INSTRUCTION, named).one_or_none()
        if row is None:
            parked = _parked(connection, client_id, instruction_id)
            return None if parked is None else queued_view(parked, "parked")
    return instruction_view(row)


def fingerprint(engine: Engine, client_id: int, instruction_id: str) -> str | None:
    """The fingerprint of the body that a decided or parked instruction has."""
    named = {"client_id": client_id, "id": instruction_id}
    with engine.connect() as connection:
        row = connection.execute(INSTRUCTION, named).one_or_none()
        if row is None:
            parked = _parked(connection, client_id, instruction_id)
            return None if parked is None else parked.fingerprint
    return bytes(row.fingerprint).hex()


def customer(engine: Engine, client_id: int, customer_id: str) -> dict[str, Any] | None:
    """A customer that the client opened."""
    with engine.connect() as connection:
        named = {"client_id": client_id, "id": customer_id}
        row = connection.execute(CUSTOMER, named).one_or_none()
    return None if row is None else _customer_view(row)


def customers_by_legacy_id(
    engine: Engine, client_id: int, legacy_id: str, limit: int, after: str | None = None
) -> list[dict[str, Any]]:
    """The client's customers with this legacy id, by id, from after the id given."""
    named = {"client_id": client_id, "legacy_id": legacy_id, "limit": limit, "after": after}
    with engine.connect() as connection:
        return [_customer_view(row) for row in connection.execute(CUSTOMERS_BY_LEGACY_ID, named)]


def wallet(engine: Engine, client_id: int, wallet_id: str) -> dict[str, Any] | None:
    """A wallet that the client opened or was granted."""
    with engine.connect() as connection:
        row = connection.execute(WALLET, {"client_id": client_id, "id": wallet_id}).one_or_none()
    return None if row is None else _wallet_view(row)


def wallets_of_customer(
    engine: Engine, client_id: int, customer_id: str, limit: int, after: str | None = None
) -> list[dict[str, Any]]:
    """A customer's wallets that the client may read, by id, from after the id given."""
    named = {"client_id": client_id, "customer_id": customer_id, "limit": limit, "after": after}
    with engine.connect() as connection:
        return [_wallet_view(row) for row in connection.execute(WALLETS_OF_CUSTOMER, named)]


def entries(
    engine: Engine,
    client_id: int,
    wallet_id: str,
    limit: int,
    *,
    before_seq: int | None = None,
    after_seq: int | None = None,
) -> list[dict[str, Any]] | None:
    """A wallet's entries: newest first and before `before_seq`, or, if `after_seq` is given,
    oldest first and after it. None if the client may not read the wallet.
    """
    named: dict[str, Any] = {"wallet_id": wallet_id, "limit": limit}
    if after_seq is not None:
        statement, named["bound"] = ENTRIES_OLDEST_FIRST, after_seq
    else:
        named["bound"] = _SEQ_END if before_seq is None else before_seq
        statement = ENTRIES_NEWEST_FIRST
    with engine.connect() as connection:
        found = connection.execute(WALLET, {"client_id": client_id, "id": wallet_id})
        if found.one_or_none() is None:
            return None
        rows = connection.execute(statement, named)
        return [
            entry_view(
                row, Entry(wallet_id, row.seq, row.amount, row.balance), row.counterparty, client_id
            )
            for row in rows
        ]


def _parked(connection: Connection, client_id: int, instruction_id: str) -> Instruction | None:
    body = connection.scalar(PARKED, {"id": instruction_id})
    if body is None:
        return None
    try:
        instruction = decode(bytes(body))
    except Undecodable:
        return None
    if instruction.client_id != client_id or instruction.id != instruction_id:
        return None
    return instruction


def _customer_view(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "phone": row.phone,
        "email": row.email,
        "country": row.country,
        "legacy_id": row.legacy_id,
        "status": row.status,
        "created_at": timestamp_text(row.created_at),
    }


def _wallet_view(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "customer_id": row.customer_id,
        "legacy_id": row.legacy_id,
        "currency": row.currency,
        "exponent": EXPONENTS[row.currency],
        "balance": row.balance,
        "available": max(row.balance - row.floor, 0) if row.status == "open" else 0,
        "status": row.status,
        "seq": row.seq,
        "opened_at": timestamp_text(row.opened_at),
    }

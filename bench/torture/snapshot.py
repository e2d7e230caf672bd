"""The database and the broker as they stand once everything is decided, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, text

from domain.books import Outcome
from domain.fields import timestamp_text
from domain.instructions import DATA, Instruction, instruct
from storage.rows import restored_outcome
from storage.verify import verify


@dataclass(frozen=True, slots=True)
class Decided:
    """One row of `instructions`: where it was decided, what was asked, what came of it."""

    partition: int
    position: int
    instruction: Instruction
    outcome: Outcome
    stored_id: str
    stored_fingerprint: str
    source_wallet_id: str | None
    destination_wallet_id: str | None


@dataclass(frozen=True, slots=True)
class StoredWallet:
    """One row of `wallets`; those of settlement accounts have a stripe and no customer."""

    id: str
    client_id: int
    customer_id: str | None
    currency: str
    balance: int
    seq: int
    floor: int | None
    stripe: int | None


@dataclass(slots=True)
class Snapshot:
    """Everything that the checker compares the journal with."""

    partitions: int
    decided: list[Decided] = field(default_factory=list)
    """In the order of partition and position."""
    wallets: dict[str, StoredWallet] = field(default_factory=dict)
    customers: dict[str, int] = field(default_factory=dict)
    """Owner client by customer id."""
    grants: frozenset[tuple[int, str]] = frozenset()
    parked: list[tuple[str, str | None, str]] = field(default_factory=list)
    """SHA-256 of the body, instruction id and reason of each message that waits for an operator."""
    queues: dict[str, int] = field(default_factory=dict)
    """Messages left, ready or not, by queue."""
    findings: list[str] = field(default_factory=list)
    """What `verify` found wrong."""


def take(engine: Engine, partitions: int, queues: Mapping[str, int]) -> Snapshot:
    """Read it all. Nothing may be running that still changes it."""
    with engine.connect() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        taken = Snapshot(
            partitions,
            decided=_decided(connection),
            wallets=_wallets(connection),
            customers={row.id: row.client_id for row in _rows(connection, _CUSTOMERS)},
            grants=frozenset((row.client_id, row.wallet_id) for row in _rows(connection, _GRANTS)),
            parked=[(row.digest, row.id, row.reason) for row in _rows(connection, _PARKED)],
            queues=dict(queues),
        )
    taken.findings = [f"{each.subject} {each.fault}" for each in verify(engine).findings]
    return taken


_CUSTOMERS = "SELECT CAST(id AS text) AS id, client_id FROM customers"
_GRANTS = "SELECT client_id, CAST(wallet_id AS text) AS wallet_id FROM grants"
_PARKED = """
    SELECT encode(sha256(body), 'hex') AS digest, CAST(instruction_id AS text) AS id, reason
    FROM parked WHERE resolution IS NULL
"""
_DECIDED = """
    SELECT instructions.*, openings.data AS opening
    FROM instructions LEFT JOIN openings ON openings.instruction_id = instructions.id
    ORDER BY partition, position
"""


def _rows(connection: Connection, sql: str) -> Any:
    return connection.execution_options(stream_results=True).execute(text(sql))


def _wallets(connection: Connection) -> dict[str, StoredWallet]:
    rows = _rows(
        connection,
        "SELECT CAST(id AS text) AS id, client_id, CAST(customer_id AS text) AS customer_id,"
        " currency, balance, seq, floor, stripe FROM wallets",
    )
    return {row.id: StoredWallet(*row) for row in rows}


def _decided(connection: Connection) -> list[Decided]:
    return [
        Decided(
            row.partition,
            row.position,
            _instruction(row),
            restored_outcome(row),
            str(row.id),
            bytes(row.fingerprint).hex(),
            row.source_wallet_id,
            row.destination_wallet_id,
        )
        for row in _rows(connection, _DECIDED)
    ]


def _instruction(row: Any) -> Instruction:
    """The instruction anew from its row: its id and its fingerprint are computed again."""
    data = row.opening if row.opening is not None else _money(row)
    decoded = DATA[row.type].model_validate(data)
    return instruct(
        row.client_id, row.idempotency_key, decoded, row.type, timestamp_text(row.submitted_at)
    )


def _money(row: Any) -> dict[str, Any]:

    data: dict[str, Any] = {"amount": row.amount, "currency": row.currency}
    if row.type == "transfer":
        data["source_wallet_id"] = row.source_wallet_id
        data["destination_wallet_id"] = row.destination_wallet_id
    elif row.type == "deposit":
        data["wallet_id"] = row.destination_wallet_id
    else:
        data["wallet_id"] = row.source_wallet_id
    for name in ("reference", "metadata"):
        if getattr(row, name) is not None:
            data[name] = getattr(row, name)
    if row.expires_at is not None:
        data["expires_at"] = timestamp_text(row.expires_at)
    return data

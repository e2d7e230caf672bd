"""Load what the rules look at, save what they decided: a fixed number of statements a batch."""

import json
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any, Final

from sqlalchemy import Connection, text

from domain.books import Books, Decision, Entry, Outcome, Posting, Wallet, WalletStatus
from domain.fields import timestamp_text
from domain.instructions import (
    CustomerOpen,
    Deposit,
    Instruction,
    Money,
    Transfer,
    WalletOpen,
    Withdrawal,
)
from domain.rejections import Rejection
from storage.arrays import NULL, array, copied, text_array

# The order by id is the order of locking: two batches that share wallets meet at the first
# of them, and never wait for each other in a circle.
LOCK_WALLETS: Final = text("""
    SELECT id, client_id, customer_id, currency, status, balance, seq, floor
    FROM wallets
    WHERE id = ANY (CAST(:ids AS uuid[]))
    ORDER BY id
    FOR NO KEY UPDATE
""")

KNOWN_OUTCOMES: Final = text("""
    SELECT id, fingerprint, submitted_at, decided_at, rejection, amount,
           source_wallet_id, source_seq, source_balance,
           destination_wallet_id, destination_seq, destination_balance
    FROM instructions
    WHERE id = ANY (CAST(:ids AS uuid[]))
""")

KNOWN_CUSTOMERS: Final = text("""
    SELECT id, client_id FROM customers WHERE id = ANY (CAST(:ids AS uuid[]))
""")

GRANTS: Final = text("""
    SELECT client_id, wallet_id FROM grants
    WHERE wallet_id = ANY (CAST(:wallet_ids AS uuid[]))
      AND client_id = ANY (CAST(:client_ids AS integer[]))
""")

OPEN_CUSTOMERS: Final = text("""
    INSERT INTO customers (id, client_id, name, phone, email, country, legacy_id, created_at)
    SELECT opened.*, CAST(:now AS timestamptz)
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:client_ids AS integer[]), CAST(:names AS text[]),
        CAST(:phones AS text[]), CAST(:emails AS text[]), CAST(:countries AS text[]),
        CAST(:legacy_ids AS text[])
    ) AS opened
""")

OPEN_WALLETS: Final = text("""
    INSERT INTO wallets
        (id, client_id, customer_id, currency, balance, seq, legacy_id, floor, opened_at)
    SELECT opened.*, 0, CAST(:now AS timestamptz)
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:client_ids AS integer[]), CAST(:customer_ids AS uuid[]),
        CAST(:currencies AS text[]), CAST(:balances AS bigint[]), CAST(:seqs AS bigint[]),
        CAST(:legacy_ids AS text[])
    ) AS opened
""")

MOVE_WALLETS: Final = text("""
    UPDATE wallets SET balance = moved.balance, seq = moved.seq
    FROM unnest(CAST(:ids AS uuid[]), CAST(:balances AS bigint[]), CAST(:seqs AS bigint[]))
        AS moved (id, balance, seq)
    WHERE wallets.id = moved.id
""")

SAVE_OPENINGS: Final = text("""
    INSERT INTO openings (instruction_id, data)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:data AS jsonb[]))
""")

SAVE_INSTRUCTIONS: Final = """
    COPY instructions (
        id, client_id, idempotency_key, fingerprint, type, submitted_at, decided_at,
        partition, position, rejection, source_seq, source_wallet_id, destination_wallet_id,
        amount, currency, reference, metadata, expires_at,
        source_balance, destination_seq, destination_balance
    ) FROM STDIN
"""


def load(
    connection: Connection,
    instructions: Sequence[Instruction],
    settlements: dict[tuple[int, str], str],
) -> Books:
    """Lock the wallets of a batch, then read all else that its rules look at.

    `settlements` names the settlement accounts of the batch's partition, which exist.
    """
    wallet_ids = set(_wallet_ids(instructions))
    wallet_ids.update(settlements.values())
    wallets = {}
    if wallet_ids:
        for row in connection.execute(LOCK_WALLETS, {"ids": array(wallet_ids)}):
            wallets[row.id] = _wallet(row)
    known = connection.execute(KNOWN_OUTCOMES, {"ids": array({i.id for i in instructions})})
    return Books(
        wallets=wallets,
        customers=_customers(connection, instructions),
        outcomes={row.id: restored_outcome(row) for row in known},
        grants=_grants(connection, instructions, wallets),
        settlements=settlements,
    )


def save(
    connection: Connection, books: Books, posting: Posting, partition: int, position: int
) -> int:
    """Write what a batch decided, as the caller's transaction.

    `position` is the place of the partition's last instruction before this batch. Returns
    that of its last instruction now.
    """
    decisions = list(posting.decided())
    if not decisions:
        return position
    _open(connection, books, posting, decisions)
    moved = [wallet for wallet in posting.wallets.values() if wallet.id in books.wallets]
    if moved:
        connection.execute(
            MOVE_WALLETS,
            {
                "ids": array(wallet.id for wallet in moved),
                "balances": array(wallet.balance for wallet in moved),
                "seqs": array(wallet.seq for wallet in moved),
            },
        )
    lines = StringIO(
        "".join(
            _copy_line(decision, books, partition, place)
            for place, decision in enumerate(decisions, start=position + 1)
        )
    )
    cursor = connection.connection.cursor()
    cursor.copy_expert(SAVE_INSTRUCTIONS, lines)
    cursor.close()
    return position + len(decisions)


def restored_outcome(row: Any) -> Outcome:
    """The outcome that a row of `instructions` holds."""
    entries: tuple[Entry, ...] = ()
    if row.source_balance is not None:
        entries = (
            Entry(row.source_wallet_id, row.source_seq, -row.amount, row.source_balance),
            Entry(
                row.destination_wallet_id,
                row.destination_seq,
                row.amount,
                row.destination_balance,
            ),
        )
    rejection = None if row.rejection is None else Rejection.restored(row.rejection)
    fingerprint = bytes(row.fingerprint).hex()
    return Outcome(
        row.id,
        fingerprint,
        row.submitted_at,
        row.decided_at,
        rejection,
        entries,
        row.source_seq,
    )


def _wallet(row: Any) -> Wallet:
    return Wallet(
        row.id,
        row.client_id,
        row.customer_id,
        row.currency,
        WalletStatus(row.status),
        row.balance,
        row.seq,
        row.floor,
    )


def _wallet_ids(instructions: Iterable[Instruction]) -> Iterable[str]:
    for instruction in instructions:
        match instruction:
            case Transfer(data=data):
                yield data.source_wallet_id
                yield data.destination_wallet_id
            case Deposit() | Withdrawal():
                yield instruction.data.wallet_id
            case WalletOpen():
                yield instruction.wallet_id
            case CustomerOpen():
                yield from (wallet_id for wallet_id, _ in instruction.wallets())


def _customers(connection: Connection, instructions: Sequence[Instruction]) -> dict[str, int]:
    ids = {i.customer_id for i in instructions if isinstance(i, CustomerOpen)}
    ids |= {i.data.customer_id for i in instructions if isinstance(i, WalletOpen)}
    if not ids:
        return {}
    rows = connection.execute(KNOWN_CUSTOMERS, {"ids": array(ids)})
    return {row.id: row.client_id for row in rows}


def _grants(
    connection: Connection, instructions: Sequence[Instruction], wallets: dict[str, Wallet]
) -> frozenset[tuple[int, str]]:
    clients = {instruction.client_id for instruction in instructions}
    foreign = [w.id for w in wallets.values() if len(clients) > 1 or w.client_id not in clients]
    if not foreign:
        return frozenset()
    named = {"wallet_ids": array(foreign), "client_ids": array(clients)}
    return frozenset((row[0], row[1]) for row in connection.execute(GRANTS, named))


def _open(
    connection: Connection, books: Books, posting: Posting, decisions: Sequence[Decision]
) -> None:
    openings = [
        (decision.instruction, decision.outcome)
        for decision in decisions
        if isinstance(decision.instruction, CustomerOpen | WalletOpen)
    ]
    if not openings:
        return
    now = openings[0][1].decided_at
    customers = [
        instruction
        for instruction, outcome in openings
        if outcome.rejection is None and isinstance(instruction, CustomerOpen)
    ]
    if customers:
        connection.execute(
            OPEN_CUSTOMERS,
            {
                "now": now,
                "ids": array(i.customer_id for i in customers),
                "client_ids": array(i.client_id for i in customers),
                "names": text_array(i.data.name for i in customers),
                "phones": text_array(i.data.phone for i in customers),
                "emails": text_array(i.data.email for i in customers),
                "countries": text_array(i.data.country for i in customers),
                "legacy_ids": text_array(i.data.legacy_id for i in customers),
            },
        )
    legacy_ids = {
        instruction.wallet_id: instruction.data.legacy_id
        for instruction, outcome in openings
        if outcome.rejection is None and isinstance(instruction, WalletOpen)
    }
    wallets = [wallet for wallet in posting.wallets.values() if wallet.id not in books.wallets]
    if wallets:
        connection.execute(
            OPEN_WALLETS,
            {
                "now": now,
                "ids": array(w.id for w in wallets),
                "client_ids": array(w.client_id for w in wallets),
                "customer_ids": array(w.customer_id for w in wallets),
                "currencies": array(w.currency for w in wallets),
                "balances": array(w.balance for w in wallets),
                "seqs": array(w.seq for w in wallets),
                "legacy_ids": text_array(legacy_ids.get(w.id) for w in wallets),
            },
        )
    connection.execute(
        SAVE_OPENINGS,
        {
            "ids": array(instruction.id for instruction, _ in openings),
            "data": text_array(json.dumps(i.data.given()) for i, _ in openings),
        },
    )


def _copy_line(decision: Decision, books: Books, partition: int, position: int) -> str:
    instruction, outcome, _ = decision
    rejection = outcome.rejection
    fields = [
        instruction.id,
        str(instruction.client_id),
        copied(instruction.idempotency_key),
        rf"\\x{instruction.fingerprint}",
        instruction.type,
        timestamp_text(instruction.submitted_at),
        timestamp_text(outcome.decided_at),
        str(partition),
        str(position),
        NULL if rejection is None else copied(json.dumps(rejection.stored())),
        NULL if outcome.source_seq is None else str(outcome.source_seq),
    ]
    if isinstance(instruction, CustomerOpen | WalletOpen):
        fields += [NULL] * 10
    else:
        fields += _money_fields(instruction, outcome, books)
    return "\t".join(fields) + "\n"


def _money_fields(instruction: Money, outcome: Outcome, books: Books) -> list[str]:
    data = instruction.data
    legs = [NULL, NULL, NULL]
    if outcome.entries:
        source, destination = outcome.entries
        legs = [str(source.balance), str(destination.seq), str(destination.balance)]
    return [
        *_sides(instruction, books),
        str(data.amount),
        data.currency,
        copied(data.reference),
        NULL if data.metadata is None else copied(json.dumps(data.metadata)),
        NULL if data.expires_at is None else timestamp_text(data.expires_at),
        *legs,
    ]


def _sides(instruction: Money, books: Books) -> tuple[str, str]:
    """Ids of the wallets to debit and to credit, whether they exist or not."""
    if isinstance(instruction, Transfer):
        return instruction.data.source_wallet_id, instruction.data.destination_wallet_id
    settlement = books.settlements[instruction.client_id, instruction.data.currency]
    if isinstance(instruction, Deposit):
        return settlement, instruction.data.wallet_id
    return instruction.data.wallet_id, settlement

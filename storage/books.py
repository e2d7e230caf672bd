"""Load what the rules look at, save what they decided: a fixed number of statements a batch."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from domain.books import Books, Decision, Posting, Wallet, WalletStatus, newly_decided
from domain.errors import LedgerFault
from domain.instructions import CustomerOpen, Instruction, WalletOpen, is_opening
from storage.arrays import array, copy, text_array
from storage.prepared import Prepared
from storage.rows import SAVE_INSTRUCTIONS, copy_lines, restored_outcome

# The order by id is the order of locking: two batches that share wallets meet at the first
# of them, and never wait for each other in a circle.
# To send the ids once more, for the grants, would cost more than to find them here.
LOCK_WALLETS: Final = Prepared(
    "lock_wallets",
    """
    SELECT ctid, id, client_id, customer_id, currency, status, balance, seq, floor,
           CASE WHEN EXISTS (SELECT FROM grants) THEN (
               SELECT array_agg(grants.client_id) FROM grants WHERE grants.wallet_id = wallets.id
           ) END AS granted
    FROM wallets
    WHERE id = ANY (:ids)
    ORDER BY id
    FOR NO KEY UPDATE
    """,
    ids="uuid[]",
)

KNOWN_OUTCOMES: Final = Prepared(
    "known_outcomes",
    """
    SELECT id, fingerprint, submitted_at, decided_at, rejection, amount,
           source_wallet_id, source_seq, source_balance,
           destination_wallet_id, destination_seq, destination_balance
    FROM instructions
    WHERE id = ANY (:ids)
    """,
    ids="uuid[]",
)

KNOWN_CUSTOMERS: Final = text("""
    SELECT id, client_id FROM customers WHERE id = ANY (CAST(:ids AS uuid[]))
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

# A locked row stays where it is and as it was, so it is found again by its place, without the
# index. Its number tells that it is the one that was read.
MOVE_WALLETS: Final = Prepared(
    "move_wallets",
    """
    WITH advanced AS (UPDATE partitions SET position = :position WHERE id = :partition)
    UPDATE wallets SET balance = moved.balance, seq = moved.seq
    FROM unnest(:places, :seqs_before, :balances, :seqs)
        AS moved (place, seq_before, balance, seq)
    WHERE wallets.ctid = moved.place AND wallets.seq = moved.seq_before
    """,
    places="tid[]",
    seqs_before="bigint[]",
    balances="bigint[]",
    seqs="bigint[]",
    partition="integer",
    position="bigint",
)

SAVE_OPENINGS: Final = text("""
    INSERT INTO openings (instruction_id, data)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:data AS jsonb[]))
""")


class Known(NamedTuple):
    """A row of `known_outcomes`."""

    id: str
    fingerprint: memoryview
    submitted_at: datetime
    decided_at: datetime
    rejection: Any
    amount: int | None
    source_wallet_id: str | None
    source_seq: int | None
    source_balance: int | None
    destination_wallet_id: str | None
    destination_seq: int | None
    destination_balance: int | None


_STATUSES: Final = {status.value: status for status in WalletStatus}


class WalletsMissing(LedgerFault):
    """Wallets that were locked are not where they were: nothing may be committed."""


class Loaded(NamedTuple):
    """The books of a batch, and where the rows of its locked wallets are."""

    books: Books
    places: dict[str, str]


class _Moves(NamedTuple):
    """What becomes of the wallets that moved, each list in the same order."""

    places: str
    seqs_before: str
    balances: str
    seqs: str
    wallets: int


def load(
    connection: Connection,
    instructions: Sequence[Instruction],
    settlements: dict[tuple[int, str], str],
    *,
    repeats: bool = True,
) -> Loaded:
    """Lock the wallets of a batch, then read all else that its rules look at.

    `settlements` names the settlement accounts of the batch's partition, which exist. Without
    `repeats`, outcomes that there are already are not looked for: `save` will meet them.
    """
    wallet_ids = {id_ for instruction in instructions for id_ in instruction.wallet_ids}
    wallet_ids.update(settlements.values())
    wallets, places, grants = {}, {}, {}
    if wallet_ids:
        for row in LOCK_WALLETS.run(connection, ids=array(wallet_ids)).rows:
            place, wallet_id, owner, customer, currency, status, balance, seq, floor, given = row
            places[wallet_id] = place
            if given is not None:
                grants[wallet_id] = tuple(given)
            wallets[wallet_id] = Wallet(
                wallet_id,
                owner,
                customer,
                currency,
                _STATUSES[status],
                balance,
                seq,
                floor,
            )
    known: Sequence[tuple[Any, ...]] = ()
    if repeats:
        ids = array({instruction.id for instruction in instructions})
        known = KNOWN_OUTCOMES.run(connection, ids=ids).rows
    books = Books(
        wallets=wallets,
        customers=_customers(connection, instructions),
        outcomes={row.id: restored_outcome(row) for row in map(Known._make, known)},
        grants=grants,
        settlements=settlements,
    )
    return Loaded(books, places)


def save(
    connection: Connection,
    loaded: Loaded,
    posting: Posting,
    decisions: Iterator[Decision],
    partition: int,
    position: int,
) -> None:
    """Write the decisions of a batch while they are made, then what they moved.

    `decisions` are those of `posting`, not yet taken: Python decides an instruction while
    Postgres stores those before it. `position` is the place of the partition's last
    instruction before this batch.

    Raises: WalletsMissing; the driver's UniqueViolation if one of the batch has an outcome
    already that was not looked for; whatever taking a decision raises.
    """
    new = newly_decided(decisions)
    moves = []

    def lines() -> Iterator[str]:
        yield from copy_lines(new, loaded.books, partition, position)
        # Postgres is still storing the last lines meanwhile.
        moves.append(_moves(loaded, posting))

    copy(connection, SAVE_INSTRUCTIONS, lines())
    decided = list(posting.decided())
    if not decided:
        return
    _open(connection, loaded.books, posting, decided)
    [moved] = moves
    updated = MOVE_WALLETS.run(
        connection,
        places=moved.places,
        seqs_before=moved.seqs_before,
        balances=moved.balances,
        seqs=moved.seqs,
        partition=partition,
        position=position + len(decided),
    )
    if updated.rowcount != moved.wallets:
        raise WalletsMissing(partition=partition, moved=moved.wallets, found=updated.rowcount)


def _moves(loaded: Loaded, posting: Posting) -> _Moves:
    books, places = loaded
    moved = [wallet for wallet in posting.wallets.values() if wallet.id in places]
    return _Moves(
        # Quoted, because a place has a comma.
        array([f'"{places[wallet.id]}"' for wallet in moved]),
        array([books.wallets[wallet.id].seq for wallet in moved]),
        array([wallet.balance for wallet in moved]),
        array([wallet.seq for wallet in moved]),
        len(moved),
    )


def _customers(connection: Connection, instructions: Sequence[Instruction]) -> dict[str, int]:
    ids = {
        i.customer_id if isinstance(i, CustomerOpen) else i.data.customer_id
        for i in filter(is_opening, instructions)
    }
    if not ids:
        return {}
    rows = connection.execute(KNOWN_CUSTOMERS, {"ids": array(ids)})
    return {row.id: row.client_id for row in rows}


def _open(
    connection: Connection, books: Books, posting: Posting, decisions: Sequence[Decision]
) -> None:
    openings = [
        (decision.instruction, decision.outcome)
        for decision in decisions
        if is_opening(decision.instruction)
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

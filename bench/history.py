"""Ten million transfers that might have been: made by set, and true like any others.

In each round every wallet of one half pays one wallet of the other half, and in the next
round the other way round; the amount changes every second round. So each wallet has one
entry a round, its balance returns to zero, and each transfer can be written down without
computing another.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Final

from sqlalchemy import Connection, Engine, text

from bench.books import vacuum
from bench.ground import PARTITIONS
from bench.transfers import CURRENCY, wallet_id
from domain.identity import partition_of

_SPREAD: Final = 7_919
"""A prime that shares no factor with any half: the payees are all wallets, in another order."""

_AT_ONCE: Final = 2
"""Rounds know nothing of each other, and one alone would leave the other processor idle."""

PLACES: Final = text("""
    CREATE UNLOGGED TABLE bench_places
        (half integer, number integer, id uuid, partition smallint, rank integer)
""")

INDEXES: Final = text("""
    SELECT indexname, indexdef, constraints.conname IS NOT NULL AS is_key
    FROM pg_indexes LEFT JOIN pg_constraint AS constraints ON constraints.conname = indexname
    WHERE tablename = 'instructions'
""")

_KEY: Final = "lpad(CAST(:round AS text), 5, '0') || lpad(CAST(source.number AS text), 15, '0')"

# The id is derived from client and key as `domain.identity.derived_id` does it.
ROUND: Final = text(rf"""
    INSERT INTO instructions (
        position, submitted_at, decided_at, amount, source_seq, source_balance,
        destination_seq, destination_balance, id, source_wallet_id, destination_wallet_id,
        client_id, type, partition, currency, fingerprint, idempotency_key, reference
    )
    SELECT earlier.count + source.rank, now(), now(), :amount, :round + 1, :source_balance,
           :round + 1, :destination_balance,
           CAST(encode(set_byte(set_byte(digest.bytes, 6, get_byte(digest.bytes, 6) & 15 | 128),
                                8, get_byte(digest.bytes, 8) & 63 | 128), 'hex') AS uuid),
           source.id, destination.id, :client_id, 'transfer', source.partition, :currency,
           substr(sha256(digest.bytes), 1, 16), {_KEY}, 'rent ' || right({_KEY}, 15)
    FROM bench_places AS source
    JOIN bench_places AS destination
      ON destination.half = 1 - source.half
     AND destination.number = (source.number * CAST(:spread AS bigint) + :round) % :half_wallets
    JOIN unnest(CAST(:earlier AS bigint[])) WITH ORDINALITY AS earlier (count, partition)
      ON earlier.partition = source.partition + 1,
    LATERAL (
        SELECT substr(sha256(convert_to('instruction', 'UTF8') || '\x00'
            || convert_to(CAST(:client_id AS text), 'UTF8') || '\x00'
            || convert_to({_KEY}, 'UTF8')), 1, 16) AS bytes
    ) AS digest
    WHERE source.half = :half
""")  # The only text put in is the constant above.

FINISH: Final = (
    text("UPDATE wallets SET seq = :rounds"),
    text("""
        UPDATE partitions SET position = (
            SELECT count(*) FROM instructions WHERE instructions.partition = partitions.id
        )
    """),
    text("DROP TABLE bench_places"),
)


def write_history(
    engine: Engine,
    client_id: int,
    wallets: int,
    transfers: int,
    told: Callable[[int], None],
) -> None:
    """Fill the ledger of a database whose `wallets` nobody has used.

    `transfers` is a multiple of the number of wallets; `told` is told how many there are, now
    and then.
    """
    half_wallets, rounds = wallets // 2, 2 * transfers // wallets
    with engine.begin() as connection:
        counts = _number_places(connection, half_wallets)
        indexes = list(connection.execute(INDEXES))
        connection.execute(text("ALTER TABLE instructions DROP CONSTRAINT instructions_pkey"))
        for index in indexes:
            connection.execute(text(f"DROP INDEX IF EXISTS {index.indexname}"))

    def write(number: int) -> None:
        with engine.begin() as connection:
            connection.execute(ROUND, _round(number, counts, client_id, half_wallets))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done, _ in enumerate(pool.map(write, range(rounds)), start=1):
            told(done * half_wallets)
    with engine.begin() as connection:
        # As after a restore: one sort, not ten million searches.
        connection.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        for index in indexes:
            connection.execute(text(index.indexdef))
        connection.execute(
            text("ALTER TABLE instructions ADD PRIMARY KEY USING INDEX instructions_pkey")
        )
        for statement in FINISH:
            connection.execute(statement, {"rounds": rounds})
    vacuum(engine)


def _number_places(connection: Connection, half_wallets: int) -> list[list[int]]:
    """Each wallet's half, number, partition and rank in both; and how many each partition has."""
    counts = [[0] * PARTITIONS, [0] * PARTITIONS]
    lines = StringIO()
    for place in range(2 * half_wallets):
        half, number = divmod(place, half_wallets)
        wallet = wallet_id(place)
        partition = partition_of(wallet, PARTITIONS)
        counts[half][partition] += 1
        rank = counts[half][partition]
        lines.write(f"{half}\t{number}\t{wallet}\t{partition}\t{rank}\n")
    lines.seek(0)
    connection.execute(PLACES)
    cursor = connection.connection.cursor()
    cursor.copy_expert("COPY bench_places FROM STDIN", lines)
    cursor.close()
    connection.execute(text("ANALYZE bench_places"))
    return counts


def _round(
    number: int, counts: list[list[int]], client_id: int, half_wallets: int
) -> dict[str, object]:
    """What differs between rounds: who pays, how much, and what went before."""
    pairs, half = divmod(number, 2)
    amount = 1 + pairs % 100
    earlier = [
        pairs * (first + second) + half * first
        for first, second in zip(counts[0], counts[1], strict=True)
    ]
    return {
        "round": number,
        "half": half,
        "amount": amount,
        "source_balance": 0 if half else -amount,
        "destination_balance": 0 if half else amount,
        "client_id": client_id,
        "currency": CURRENCY,
        "spread": _SPREAD,
        "half_wallets": half_wallets,
        "earlier": earlier,
    }

"""Prove the books: every rule that must hold over all rows, asked of Postgres itself.

It trusts no balance: each is compared with the entries behind it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

ENTRIES: Final = """
    SELECT source_wallet_id AS wallet_id, source_seq AS seq, -amount AS amount,
           source_balance AS balance, currency
    FROM instructions WHERE source_balance IS NOT NULL
    UNION ALL
    SELECT destination_wallet_id, destination_seq, amount, destination_balance, currency
    FROM instructions WHERE destination_balance IS NOT NULL
"""

# `walked` compares each entry with the one before it: the numbers must count from 1, and
# the balance must carry over.
WALLETS: Final = text(f"""
    WITH entry AS ({ENTRIES}),
    walked AS (
        SELECT wallet_id, seq, amount, balance, currency,
               row_number() OVER wallet AS place,
               coalesce(lag(balance) OVER wallet, 0) AS before
        FROM entry
        WINDOW wallet AS (PARTITION BY wallet_id ORDER BY seq)
    ),
    summed AS (
        SELECT wallet_id, count(*) AS entries, sum(amount) AS balance,
               bool_and(seq = place) AS counted,
               bool_and(before + amount = balance) AS carried,
               min(currency) AS lowest_currency, max(currency) AS highest_currency
        FROM walked GROUP BY wallet_id
    ),
    checked AS (
        SELECT coalesce(wallets.id, summed.wallet_id) AS wallet_id,
            CASE
                WHEN wallets.id IS NULL THEN 'has entries but does not exist'
                WHEN wallets.balance <> coalesce(summed.balance, 0)
                    THEN 'balance differs from the sum of its entries'
                WHEN wallets.seq <> coalesce(summed.entries, 0)
                    THEN 'seq differs from the number of its entries'
                WHEN NOT summed.counted THEN 'entries are not numbered from 1 without gaps'
                WHEN NOT summed.carried THEN 'an entry''s balance does not follow from the last'
                WHEN wallets.balance < wallets.floor THEN 'balance is below its floor'
                WHEN summed.lowest_currency <> wallets.currency
                    OR summed.highest_currency <> wallets.currency
                    THEN 'an entry is in another currency'
            END AS fault
        FROM wallets FULL JOIN summed ON summed.wallet_id = wallets.id
    )
    SELECT wallet_id, fault FROM checked WHERE fault IS NOT NULL ORDER BY wallet_id LIMIT :limit
""")  # noqa: S608  # The only text put in is the constant above.

# Money comes in and goes out through an account of the client's own that nobody can spend.
SETTLED: Final = text("""
    SELECT moved.id
    FROM instructions AS moved
    LEFT JOIN wallets AS account ON account.id =
        CASE moved.type WHEN 'deposit' THEN moved.source_wallet_id
        ELSE moved.destination_wallet_id END
    WHERE moved.type IN ('deposit', 'withdrawal') AND moved.source_balance IS NOT NULL
      AND (account.customer_id IS NULL AND account.client_id = moved.client_id) IS NOT TRUE
    ORDER BY moved.id LIMIT :limit
""")

CURRENCIES: Final = text("""
    SELECT currency, CAST(sum(balance) AS bigint) AS total
    FROM wallets GROUP BY currency ORDER BY currency
""")

PARTITIONS: Final = text("""
    SELECT partitions.id, partitions.position, count(instructions.id) AS decided,
           count(DISTINCT instructions.position) AS places,
           coalesce(max(instructions.position), 0) AS last
    FROM partitions LEFT JOIN instructions ON instructions.partition = partitions.id
    GROUP BY partitions.id ORDER BY partitions.id
""")

COUNTS: Final = text("""
    SELECT (SELECT count(*) FROM wallets WHERE customer_id IS NOT NULL) AS wallets,
           count(*) AS instructions,
           count(*) FILTER (WHERE rejection IS NULL) AS succeeded,
           count(*) FILTER (WHERE rejection IS NOT NULL) AS rejected,
           count(*) FILTER (WHERE source_balance IS NOT NULL) AS transfers
    FROM instructions
""")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the books that cannot be right."""

    subject: str
    fault: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was looked at, and all that is wrong with it (at most `limit` of a kind are named)."""

    counts: dict[str, int]
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.findings


def verify(engine: Engine, limit: int = 100) -> Verdict:
    """Check the books as they stand in one moment, while the system may be running."""
    with engine.connect() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        counts = dict(connection.execute(COUNTS).one()._mapping)
        return Verdict(counts, list(_findings(connection, limit)))


def _findings(connection: Connection, limit: int) -> Iterator[Finding]:
    for row in connection.execute(WALLETS, {"limit": limit}):
        yield Finding(f"wallet {row.wallet_id}", row.fault)
    for row in connection.execute(SETTLED, {"limit": limit}):
        yield Finding(f"instruction {row.id}", "went through no settlement account of its client")
    for row in connection.execute(CURRENCIES):
        if row.total != 0:
            yield Finding(f"currency {row.currency}", f"sums to {row.total}, not to zero")
    for row in connection.execute(PARTITIONS):
        if not _whole(row):
            fault = (
                f"decided {row.decided} instructions at {row.places} places up to {row.last}, "
                f"but counts {row.position}"
            )
            yield Finding(f"partition {row.id}", fault)


def _whole(partition: Any) -> bool:
    """Whether the places of a partition's instructions are 1, 2, 3 and so on."""
    return {partition.decided, partition.places, partition.last} == {partition.position}

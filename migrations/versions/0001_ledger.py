"""The ledger: clients, customers, wallets, instructions with both legs of their transfer.

Revision: 0001
"""

from alembic import op

revision = "0001"
down_revision = None

CLIENTS = """
CREATE TABLE clients (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    scopes      text[] NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE settlement_floors (
    client_id   integer NOT NULL REFERENCES clients,
    currency    text NOT NULL,
    floor       bigint NOT NULL CHECK (floor <= 0),
    PRIMARY KEY (client_id, currency)
);
COMMENT ON TABLE settlement_floors IS
    'How far a client''s deposits may run ahead of its withdrawals. Without a row: no limit.';

CREATE TABLE api_keys (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   integer NOT NULL REFERENCES clients,
    sha256      bytea NOT NULL UNIQUE CHECK (length(sha256) = 32),
    hint        text NOT NULL,
    scopes      text[] NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,
    revoked_at  timestamptz
);
COMMENT ON COLUMN api_keys.hint IS 'The first characters of the key, to tell keys apart.';

CREATE TABLE operator_actions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    who         text NOT NULL,
    action      text NOT NULL,
    subject     text NOT NULL,
    reason      text NOT NULL,
    details     jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE operator_actions IS 'Append-only. Each change made from the command line.';
"""

WALLETS = """
CREATE TABLE partitions (
    id            smallint PRIMARY KEY,
    position      bigint NOT NULL DEFAULT 0,
    paused_at     timestamptz,
    pause_who     text,
    pause_reason  text
) WITH (fillfactor = 10);
COMMENT ON TABLE partitions IS
    'One row for each partition; their count is fixed when the database is made.';
COMMENT ON COLUMN partitions.position IS 'How many instructions the partition has decided.';

CREATE TABLE customers (
    id          uuid PRIMARY KEY,
    client_id   integer NOT NULL REFERENCES clients,
    name        text NOT NULL,
    phone       text,
    email       text,
    country     text NOT NULL,
    legacy_id   text,
    status      text NOT NULL DEFAULT 'open',
    created_at  timestamptz NOT NULL
);
CREATE INDEX customers_legacy ON customers (client_id, legacy_id, id)
    WHERE legacy_id IS NOT NULL;

CREATE TABLE wallets (
    balance      bigint NOT NULL CHECK (balance BETWEEN -9007199254740991 AND 9007199254740991),
    seq          bigint NOT NULL CHECK (seq >= 0),
    floor        bigint,
    opened_at    timestamptz NOT NULL,
    id           uuid PRIMARY KEY,
    customer_id  uuid REFERENCES customers,
    client_id    integer NOT NULL REFERENCES clients,
    stripe       smallint,
    currency     text NOT NULL,
    status       text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'frozen', 'closed')),
    legacy_id    text,
    CONSTRAINT wallets_floor CHECK (balance >= floor),
    CONSTRAINT wallets_kind CHECK (
        (customer_id IS NULL) = (stripe IS NOT NULL) AND (customer_id IS NULL OR floor IS NOT NULL)
    )
) WITH (fillfactor = 70);
COMMENT ON TABLE wallets IS
    'Customers'' wallets, and the stripes of settlement accounts (those without a customer).';
COMMENT ON COLUMN wallets.floor IS 'The balance never falls below it; null: no limit.';
CREATE INDEX wallets_customer ON wallets (customer_id, id) WHERE customer_id IS NOT NULL;
CREATE INDEX wallets_settlement ON wallets (client_id, currency) WHERE customer_id IS NULL;

CREATE TABLE grants (
    client_id   integer NOT NULL REFERENCES clients,
    wallet_id   uuid NOT NULL REFERENCES wallets,
    granted_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (wallet_id, client_id)
);
COMMENT ON TABLE grants IS 'Wallets that a client may read and debit though another opened them.';
"""

INSTRUCTIONS = """
CREATE TYPE instruction_type AS ENUM
    ('customer.open', 'wallet.open', 'deposit', 'withdrawal', 'transfer');

CREATE TABLE instructions (
    position               bigint NOT NULL,
    submitted_at           timestamptz NOT NULL,
    decided_at             timestamptz NOT NULL,
    amount                 bigint CHECK (amount > 0),
    source_seq             bigint,
    source_balance         bigint,
    destination_seq        bigint,
    destination_balance    bigint,
    expires_at             timestamptz,
    id                     uuid PRIMARY KEY,
    source_wallet_id       uuid,
    destination_wallet_id  uuid,
    client_id              integer NOT NULL,
    type                   instruction_type NOT NULL,
    partition              smallint NOT NULL,
    currency               text,
    fingerprint            bytea NOT NULL CHECK (length(fingerprint) = 16),
    idempotency_key        text NOT NULL,
    reference              text,
    metadata               jsonb,
    rejection              jsonb,
    CONSTRAINT instructions_money CHECK (
        CASE WHEN type IN ('customer.open', 'wallet.open') THEN
            num_nonnulls(amount, source_wallet_id, destination_wallet_id, currency) = 0
        ELSE
            num_nonnulls(amount, source_wallet_id, destination_wallet_id, currency) = 4
        END
    ),
    CONSTRAINT instructions_legs CHECK (
        CASE WHEN rejection IS NOT NULL OR amount IS NULL THEN
            num_nonnulls(source_balance, destination_seq, destination_balance) = 0
        ELSE
            num_nonnulls(source_seq, source_balance, destination_seq, destination_balance) = 4
        END
    )
);
COMMENT ON TABLE instructions IS
    'Append-only: one row for each decided instruction, its outcome and, if money moved, both '
    'legs of the transfer. It sums to zero because the amount is written once.';
COMMENT ON COLUMN instructions.position IS 'The place in its partition''s order, from 1.';
COMMENT ON COLUMN instructions.source_seq IS
    'The number of the source''s last entry once this was decided: its own if it succeeded.';
COMMENT ON COLUMN instructions.rejection IS 'Null if it succeeded.';
CREATE UNIQUE INDEX instructions_source ON instructions (source_wallet_id, source_seq)
    WHERE source_balance IS NOT NULL;
CREATE UNIQUE INDEX instructions_destination
    ON instructions (destination_wallet_id, destination_seq)
    WHERE destination_balance IS NOT NULL;

CREATE TABLE openings (
    instruction_id  uuid PRIMARY KEY,
    data            jsonb NOT NULL
);
COMMENT ON TABLE openings IS
    'What was said to open a customer or a wallet. Apart from the append-only instructions, '
    'because people have a right to have their data erased.';

CREATE TABLE parked (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition       smallint NOT NULL,
    instruction_id  uuid,
    body            bytea NOT NULL,
    headers         jsonb NOT NULL,
    reason          text NOT NULL,
    parked_at       timestamptz NOT NULL,
    resolution      text CHECK (resolution IN ('retried', 'rejected', 'discarded')),
    resolved_at     timestamptz,
    CHECK ((resolution IS NULL) = (resolved_at IS NULL))
);
COMMENT ON TABLE parked IS 'Messages that could not be decided, until an operator decides.';
CREATE UNIQUE INDEX parked_once ON parked (partition, sha256(body)) WHERE resolution IS NULL;
CREATE INDEX parked_instruction ON parked (instruction_id) WHERE resolution IS NULL;
"""

GUARDS = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = '42501';
END $$;
"""

APPEND_ONLY = """
CREATE TRIGGER {table}_append_only BEFORE {events} ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only;
"""


def upgrade() -> None:
    for statements in (CLIENTS, WALLETS, INSTRUCTIONS, GUARDS):
        op.execute(statements)
    for table in ("instructions", "operator_actions"):
        op.execute(APPEND_ONLY.format(table=table, events="UPDATE OR DELETE OR TRUNCATE"))
    # Wallets move, but are never removed or renamed, since no foreign key could hold
    # 10,000 instructions a second to them.
    events = "UPDATE OF id, currency, client_id, customer_id OR DELETE OR TRUNCATE"
    op.execute(APPEND_ONLY.format(table="wallets", events=events))

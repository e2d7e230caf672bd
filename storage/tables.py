"""The tables as SQLAlchemy Core knows them. `migrations/` makes them, and says why.

A test holds the two together.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ENUM, JSONB

metadata = MetaData()

_ID = Uuid(as_uuid=False)
_TIME = DateTime(timezone=True)
_NOW = text("now()")

clients = Table(
    "clients",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
)

settlement_floors = Table(
    "settlement_floors",
    metadata,
    Column("client_id", Integer, ForeignKey("clients.id"), primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("floor", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("client_id", Integer, ForeignKey("clients.id"), nullable=False),
    Column("sha256", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    Column("expires_at", _TIME),
    Column("revoked_at", _TIME),
)

operator_actions = Table(
    "operator_actions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _TIME, nullable=False, server_default=_NOW),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("details", JSONB, nullable=False),
)

partitions = Table(
    "partitions",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False, server_default="0"),
    Column("paused_at", _TIME),
    Column("pause_who", Text),
    Column("pause_reason", Text),
)

customers = Table(
    "customers",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("client_id", Integer, ForeignKey("clients.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("phone", Text),
    Column("email", Text),
    Column("country", Text, nullable=False),
    Column("legacy_id", Text),
    Column("status", Text, nullable=False, server_default="open"),
    Column("created_at", _TIME, nullable=False),
)

wallets = Table(
    "wallets",
    metadata,
    Column("balance", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("floor", BigInteger),
    Column("opened_at", _TIME, nullable=False),
    Column("id", _ID, primary_key=True),
    Column("customer_id", _ID, ForeignKey("customers.id")),
    Column("client_id", Integer, ForeignKey("clients.id"), nullable=False),
    Column("stripe", SmallInteger),
    Column("currency", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="open"),
    Column("legacy_id", Text),
)

grants = Table(
    "grants",
    metadata,
    Column("client_id", Integer, ForeignKey("clients.id"), primary_key=True),
    Column("wallet_id", _ID, ForeignKey("wallets.id"), primary_key=True),
    Column("granted_at", _TIME, nullable=False, server_default=_NOW),
)

instructions = Table(
    "instructions",
    metadata,
    Column("position", BigInteger, nullable=False),
    Column("submitted_at", _TIME, nullable=False),
    Column("decided_at", _TIME, nullable=False),
    Column("amount", BigInteger),
    Column("source_seq", BigInteger),
    Column("source_balance", BigInteger),
    Column("destination_seq", BigInteger),
    Column("destination_balance", BigInteger),
    Column("expires_at", _TIME),
    Column("id", _ID, primary_key=True),
    Column("source_wallet_id", _ID),
    Column("destination_wallet_id", _ID),
    Column("client_id", Integer, nullable=False),
    Column(
        "type",
        ENUM(
            "customer.open",
            "wallet.open",
            "deposit",
            "withdrawal",
            "transfer",
            name="instruction_type",
        ),
        nullable=False,
    ),
    Column("partition", SmallInteger, nullable=False),
    Column("currency", Text),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("reference", Text),
    Column("metadata", JSONB),
    Column("rejection", JSONB),
)

openings = Table(
    "openings",
    metadata,
    Column("instruction_id", _ID, primary_key=True),
    Column("data", JSONB, nullable=False),
)

parked = Table(
    "parked",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("partition", SmallInteger, nullable=False),
    Column("instruction_id", _ID),
    Column("body", LargeBinary, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("parked_at", _TIME, nullable=False),
    Column("resolution", Text),
    Column("resolved_at", _TIME),
)

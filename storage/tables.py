"""The tables as SQLAlchemy Core knows them. `migrations/` makes them, and says why.

A test holds the two together.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
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

events = Table(
    "events",
    metadata,
    Column("at", _TIME, primary_key=True),
    Column("xact", BigInteger, primary_key=True),
    Column("client_id", Integer, primary_key=True),
    Column("pending", Boolean, nullable=False),
    Column("instruction_ids", ARRAY(_ID), nullable=False),
    Column("shows", LargeBinary, nullable=False),
    Column("documents", JSONB),
)

callback_endpoints = Table(
    "callback_endpoints",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("client_id", Integer, ForeignKey("clients.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("enabled", Boolean, nullable=False, server_default="true"),
    Column("disabled_at", _TIME),
    Column("disabled_reason", Text),
    Column("failing_since", _TIME),
    Column("probe_at", _TIME),
    Column("leased_until", _TIME),
    Column("asked_at", _TIME),
    Column("secret", LargeBinary, nullable=False),
    Column("secret_key_id", Text, nullable=False),
    Column("old_secret", LargeBinary),
    Column("old_secret_key_id", Text),
    Column("old_secret_until", _TIME),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    Column("deleted_at", _TIME),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("event_at", _TIME, primary_key=True),
    Column("next_attempt_at", _TIME, nullable=False),
    Column("delivered_at", _TIME),
    Column("xact", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("endpoint_id", _ID, primary_key=True),
    Column("event_id", _ID, primary_key=True),
    Column("event_type", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("attempts", JSONB, nullable=False, server_default="[]"),
)

partners = Table(
    "partners",
    metadata,
    Column("client_id", Integer, ForeignKey("clients.id"), primary_key=True),
    Column("rate_per_s", Integer, nullable=False),
    Column("suspended_at", _TIME),
    Column("suspended_reason", Text),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    Column("removed_at", _TIME),
)

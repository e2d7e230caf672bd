"""Connections to Postgres: one kind for the ledger, one for everybody who only asks."""

from typing import Any, Final

import psycopg2
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url

from config.settings import Settings

_UUID_OID, _UUID_ARRAY_OID = 2950, 2951
_UUID_AS_TEXT: Final = psycopg2.extensions.new_type((_UUID_OID,), "UUID_AS_TEXT", psycopg2.STRING)

_UUID_ARRAY_AS_TEXT: Final = psycopg2.extensions.new_array_type(
    (_UUID_ARRAY_OID,), "UUID_ARRAY_AS_TEXT", _UUID_AS_TEXT
)

CONNECT_TIMEOUT_S: Final = 2

_LEDGER_OPTIONS: Final = {
    # The statements name their rows one by one. Statistics that are stale, or missing after
    # a restore, must not talk the planner into reading a million wallets instead.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # Wallets come out of the index in the order in which they are locked: nothing to sort.
    "enable_bitmapscan": "off",
    "jit": "off",
    # What is prepared is planned once, for batches of any size: they differ in nothing else.
    "plan_cache_mode": "force_generic_plan",
    # A worker that was stopped in mid-transaction must not hold its wallets for ever.
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "5s",
}


def ledger_engine(settings: Settings) -> Engine:
    """For the workers: one connection, plans that stay on indexes, bounded waits."""
    options = _LEDGER_OPTIONS | {"statement_timeout": f"{settings.statement_timeout_ms}ms"}
    return _engine(settings, "tekana-ledger", options, pool_size=1, max_overflow=1)


_CALLBACK_OPTIONS: Final = {
    # What is lost in a crash of Postgres is done again: events wait, deliveries repeat their id.
    "synchronous_commit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
}


def callbacks_engine(settings: Settings) -> Engine:
    """For callback workers: more threads than connections, which are held for moments."""
    size = min(settings.callback_threads, 8)
    return _engine(settings, "tekana-callbacks", _CALLBACK_OPTIONS, pool_size=size, max_overflow=0)


def inbox_engine(settings: Settings, pool_size: int) -> Engine:
    """For the inbox worker: look-ups by key and receipts written, on indexes alone."""
    options = _LEDGER_OPTIONS | {"statement_timeout": f"{settings.statement_timeout_ms}ms"}
    return _engine(settings, "tekana-inbox", options, pool_size=pool_size, max_overflow=0)


def read_engine(settings: Settings, pool_size: int = 8) -> Engine:
    """For the API: short statements, a small pool."""
    options = {
        # Sooner than `storage.deadline`: what is slow must not pass for a Postgres that is away.
        "statement_timeout": "1500ms",
        "lock_timeout": "1s",
        "enable_seqscan": "off",
        # A page is read in the order of its index, and never collected and sorted.
        "enable_bitmapscan": "off",
        "jit": "off",
    }
    return _engine(settings, "tekana-read", options, pool_size=pool_size, max_overflow=0)


def operator_engine(settings: Settings) -> Engine:
    """For migrations and `verify`: statements may take their time."""
    return _engine(settings, "tekana-operator", {"jit": "off"}, pool_size=1, max_overflow=1)


def _engine(
    settings: Settings, name: str, options: dict[str, str], pool_size: int, max_overflow: int
) -> Engine:
    engine = create_engine(
        _psycopg2_url(settings.database_url.get_secret_value()),
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=CONNECT_TIMEOUT_S,
        connect_args={
            "application_name": name,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": " ".join(f"-c {key}={value}" for key, value in options.items()),
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        },
        hide_parameters=True,
    )
    event.listen(engine, "connect", _read_ids_as_text)
    return engine


def _psycopg2_url(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+psycopg2")


def _read_ids_as_text(connection: Any, _record: Any) -> None:
    """Ids are text everywhere; a million objects a minute would be made to be unmade."""
    psycopg2.extensions.register_type(_UUID_AS_TEXT, connection)
    psycopg2.extensions.register_type(_UUID_ARRAY_AS_TEXT, connection)

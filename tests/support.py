"""What tests of several packages need: databases of their own, and patience."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg2
from sqlalchemy import Engine, create_engine, event, text

from config.secret_keys import make_secret_key
from config.settings import DEVELOPMENT_MARK, Settings
from ops.stack.services import Services
from storage import schema
from storage.engine import operator_engine

SECRET_KEYS = make_secret_key(f"{DEVELOPMENT_MARK}-1")
"""For the secrets of callback endpoints, the same for every process of this test run."""

_TEMPLATES: dict[tuple[str, int], str] = {}


def settings_for(services: Services, database: str | None = None, **overrides: Any) -> Settings:
    """The settings of a development process against the private services."""
    url = services.database_url
    if database is not None:
        url = url.rsplit("/", 1)[0] + "/" + database
    return Settings.from_env(
        {
            "TEKANA_ENVIRONMENT": "development",
            "TEKANA_DATABASE_URL": url,
            "TEKANA_BROKER_URL": services.broker_url,
            "TEKANA_REDIS_URL": services.redis_url,
            "TEKANA_SECRET_KEYS": SECRET_KEYS,
            **{f"TEKANA_{name.upper()}": str(value) for name, value in overrides.items()},
        }
    )


def fresh_database(services: Services, partitions: int = 8, **overrides: Any) -> Settings:
    """Settings of a new, migrated and empty database (a copy of a template, so it is quick)."""
    template = _TEMPLATES.get((services.database_url, partitions))
    if template is None:
        template = f"template_{partitions}_{uuid.uuid4().hex[:8]}"
        _create(services, template)
        engine = operator_engine(settings_for(services, template))
        schema.migrate(engine, partitions)
        engine.dispose()
        _TEMPLATES[services.database_url, partitions] = template
    name = f"test_{uuid.uuid4().hex[:12]}"
    _create(services, name, template)
    return settings_for(services, name, partitions=partitions, **overrides)


def _create(services: Services, name: str, template: str = "template1") -> None:
    url = services.database_url.replace("postgresql://", "postgresql+psycopg2://", 1)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()


def wait_until(
    condition: Callable[[], Any], timeout_s: float = 15.0, every_s: float = 0.02, what: str = ""
) -> Any:
    """Return the condition's first true value; fail if there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or condition}")
        time.sleep(every_s)


def overheard(engine: Engine) -> list[str]:
    """What is said to Postgres from now on over this engine's connections, without the values."""
    said: list[str] = []

    class Cursor(psycopg2.extensions.cursor):
        def execute(self, query, values=None):
            said.append(query.split("(")[0])
            super().execute(query, values)

        def copy_expert(self, query, *arguments):
            said.append(query.split("(")[0])
            super().copy_expert(query, *arguments)

    engine.dispose()
    event.listen(
        engine, "connect", lambda connection, _: setattr(connection, "cursor_factory", Cursor)
    )
    return said

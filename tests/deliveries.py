"""Deliveries as they are after attempts, for tests that look at them or repeat them."""

import json
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

FAILED: dict[str, Any] = {"at": "2026-11-23T10:00:01.000Z", "duration_ms": 12, "status": 500}
TIMED_OUT: dict[str, Any] = {
    "at": "2026-11-23T10:00:09.000Z",
    "duration_ms": 15000,
    "error": "timeout",
}
TAKEN: dict[str, Any] = {"at": "2026-11-23T10:05:00.000Z", "duration_ms": 7, "status": 204}


def add_delivery(
    engine: Engine,
    endpoint_id: str,
    event_at: datetime,
    status: str = "delivered",
    attempts: tuple[dict[str, Any], ...] = (FAILED, TAKEN),
) -> str:
    """Add a row as the callback worker leaves it; returns the event's id."""
    event_id = str(uuid.uuid4())
    delivered_at = attempts[-1]["at"] if status == "delivered" else None
    with engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO deliveries (event_at, next_attempt_at, delivered_at, xact, ordinal,
                    endpoint_id, event_id, event_type, status, attempts)
                VALUES (:at, '2026-11-24 10:00Z', :delivered_at, 1, 0, :endpoint_id, :event_id,
                    'instruction.succeeded', :status, CAST(:attempts AS jsonb))
            """),
            {
                "at": event_at,
                "delivered_at": delivered_at,
                "endpoint_id": endpoint_id,
                "event_id": event_id,
                "status": status,
                "attempts": json.dumps(attempts),
            },
        )
    return event_id

"""Who changed what from the command line, and why. Append-only."""

from typing import Any

from sqlalchemy import Connection, insert

from storage.tables import operator_actions


def record(
    connection: Connection, who: str, action: str, subject: str, reason: str, **details: Any
) -> None:
    """Write one line in the transaction that makes the change it tells of."""
    connection.execute(
        insert(operator_actions).values(
            who=who, action=action, subject=subject, reason=reason, details=details
        )
    )

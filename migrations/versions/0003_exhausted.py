"""What was given up is found among millions of deliveries.

Revision: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"

# It costs nothing where deliveries arrive. Those that are pending have deliveries_due.
EXHAUSTED = """
CREATE INDEX deliveries_exhausted ON deliveries (endpoint_id, event_at, event_id)
    WHERE status = 'exhausted';
"""


def upgrade() -> None:
    op.execute(EXHAUSTED)

"""A stripe of a settlement account is known by what it is for, and there is one of each.

Revision: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"

STRIPES = """
DROP INDEX wallets_settlement;
CREATE UNIQUE INDEX wallets_settlement ON wallets (client_id, currency, stripe)
    WHERE customer_id IS NULL;
"""

# 0002 has it by now, and had not when the first databases were made.
ASKED_AT = "ALTER TABLE callback_endpoints ADD COLUMN IF NOT EXISTS asked_at timestamptz"


def upgrade() -> None:
    op.execute(STRIPES)
    op.execute(ASKED_AT)

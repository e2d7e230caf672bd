"""What was landed is never edited: somebody's database was made by it."""

import hashlib

from ops.stack.folder import CHECKOUT

LANDED = {
    "0001_ledger.py": "064952650e72fd8f97d51819ff3775f8",
    "0002_events.py": "99c4ca2eab7b10ccee0ed854fca9bbd2",
    "0003_settlement_stripes.py": "9bb9e9350264e562d17ec8021e121492",
    "0004_compression.py": "66bb93649ff7e238db2c5b2bcd63309c",
}
"""By file, half of its SHA-256."""


def test_a_migration_that_was_landed_stays_as_it_is() -> None:
    """A change of the schema is a new file here, and a new line above."""
    folder = CHECKOUT / "migrations" / "versions"

    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:32]
        for path in folder.glob("*.py")
    }

    assert found == LANDED

"""A house with callback workers, beat and receivers, for tests of callbacks."""

import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from domain.events import CALLBACK_TYPES
from domain.identity import partition_of
from domain.instructions import Instruction
from ops.stack.services import Services
from storage import endpoints, handing_on
from storage.engine import callbacks_engine, ledger_engine
from storage.ledger import Ledger
from storage.secrets import SecretKeys, make_secret
from tests.bookkeeping import CLIENT
from tests.workers.house import PARTITIONS, House, Worker
from workers.callbacks.deliver import Deliverer
from workers.callbacks.sender import Sender

_EARLIER: Final = (
    """
    UPDATE callback_endpoints SET failing_since = failing_since - :by, probe_at = probe_at - :by,
        leased_until = leased_until - :by, old_secret_until = old_secret_until - :by
    WHERE id = CAST(:id AS uuid)
    """,
    """
    UPDATE deliveries SET next_attempt_at = next_attempt_at - :by, attempts = (
        SELECT coalesce(jsonb_agg(attempt || jsonb_build_object(
            'at', CAST(attempt ->> 'at' AS timestamptz) - :by)), '[]')
        FROM jsonb_array_elements(attempts) AS attempt)
    WHERE endpoint_id = CAST(:id AS uuid)
    """,
)


class Endpoint:
    """An endpoint with the secret that only its maker ever sees."""

    def __init__(self, endpoint_id: str, client_id: int, secret: bytes) -> None:
        self.id = endpoint_id
        self.client_id = client_id
        self.secret = secret


class CallbackHouse(House):
    """A house whose settings allow callbacks to this machine."""

    def __init__(self, services: Services, folder: Path, **overrides: Any) -> None:
        super().__init__(services, folder, **{"callback_allow_loopback": True} | overrides)
        assert self.settings.secret_keys is not None
        self.keys = SecretKeys.from_setting(self.settings.secret_keys.get_secret_value())
        self.processes: list[Worker] = []

    def callbacks(self, **overrides: Any) -> Worker:
        """Start a callback worker."""
        return self._start(["worker", "callbacks"], overrides)

    def beat(self) -> Worker:
        """Start beat."""
        return self._start(["beat"], {})

    def endpoint(
        self,
        url: str,
        events: Sequence[str] = tuple(CALLBACK_TYPES),
        client_id: int = CLIENT,
    ) -> Endpoint:
        """Add an endpoint, as the API does."""
        endpoint_id, secret = str(uuid.uuid4()), make_secret()
        sealed = self.keys.encrypt(secret, endpoint_id)
        with self.engine.begin() as connection:
            endpoints.create(connection, client_id, endpoint_id, url, events, sealed)
        return Endpoint(endpoint_id, client_id, secret)

    def decide(self, instructions: Sequence[Instruction]) -> None:
        """Give instructions their outcomes here, so that nobody is told to hand them on."""
        engine = ledger_engine(self.settings)
        ledger = Ledger(engine, PARTITIONS)
        by_partition = defaultdict(list)
        for each in instructions:
            by_partition[partition_of(each.partition_key, PARTITIONS)].append(each)
        for partition, some in by_partition.items():
            ledger.decide(partition, some, lambda: datetime.now(UTC))
        engine.dispose()

    @contextmanager
    def deliverer(self, places: int = 8) -> Iterator[Deliverer]:
        """What delivers in a callback worker, in this process."""
        engine, sender = callbacks_engine(self.settings), Sender(allow_loopback=True)
        yield Deliverer(engine, self.keys, sender, places)
        sender.close()
        engine.dispose()

    def hand_on(self) -> list[str]:
        """Hand on whatever waits, here. Returns the endpoints that something is for."""
        engine = callbacks_engine(self.settings)
        with engine.begin() as connection:
            rows = handing_on.left_rows(connection, 0)
            found = handing_on.add(connection, rows).endpoint_ids
            handing_on.handed_on(connection, rows)
        engine.dispose()
        return sorted(found)

    def tell(self, count: int) -> None:
        """Decide so many transfers, and hand on what they tell."""
        self.decide(self.transfers(count, prefix=f"n{time.monotonic_ns()}-"))
        self.hand_on()

    def pass_time(self, endpoint: Endpoint, hours: float) -> None:
        """Have it be so much later for an endpoint: everything noted happened earlier."""
        with self.engine.begin() as connection:
            named = {"id": endpoint.id, "by": timedelta(hours=hours)}
            for statement in _EARLIER:
                connection.execute(text(statement), named)

    def statuses(self, endpoint: Endpoint) -> dict[str, int]:
        """How many deliveries of an endpoint there are of each status."""
        found = self.rows(
            "SELECT status, count(*) FROM deliveries WHERE endpoint_id = CAST(:id AS uuid)"
            " GROUP BY status",
            id=endpoint.id,
        )
        return {row.status: row.count for row in found}

    def deliveries(self, endpoint: Endpoint) -> list[Any]:
        """The rows of an endpoint's deliveries."""
        return self.rows(
            "SELECT *, event_id::text AS id FROM deliveries"
            " WHERE endpoint_id = CAST(:id AS uuid) ORDER BY event_at, ordinal",
            id=endpoint.id,
        )

    def row(self, endpoint: Endpoint) -> Any:
        """The endpoint's row."""
        [row] = self.rows(
            "SELECT * FROM callback_endpoints WHERE id = CAST(:id AS uuid)", id=endpoint.id
        )
        return row

    def close(self) -> None:
        for process in self.processes:
            if process.process.poll() is None:
                process.kill()
        super().close()

    def _start(self, arguments: Sequence[str], overrides: dict[str, Any]) -> Worker:
        settings = self.settings.model_copy(update=overrides)
        self.processes.append(Worker(settings, self.folder, *arguments))
        return self.processes[-1]

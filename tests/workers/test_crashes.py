"""A worker that is killed at the worst moments: every key one outcome, in order, none lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from tests.bookkeeping import wallet_id
from tests.workers.house import House, Worker
from tests.workers.proxy import Proxy

KILLS = 7

STOP_AT_COMMIT = """
    CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON instructions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit();
"""


class Crash:
    """How to bring a worker to a point where it is killed."""

    def __init__(self, house: House) -> None:
        self.house = house

    def worker(self) -> Worker:
        return self.house.worker()

    @contextmanager
    def held(self, worker: Worker) -> Iterator[None]:
        """What is published in here is not settled by the worker."""
        raise NotImplementedError

    def reached(self, keys: list[str]) -> None:
        """Return once the worker is at the point."""
        raise NotImplementedError


class BeforeAnythingIsWritten(Crash):
    """A wallet of the batch is locked by somebody else."""

    @contextmanager
    def held(self, worker: Worker) -> Iterator[None]:
        lock = text("SELECT 1 FROM wallets WHERE id = :id FOR UPDATE")
        with self.house.engine.connect() as connection:
            connection.execute(lock, {"id": wallet_id(self.house.names[0])})
            yield

    def reached(self, keys: list[str]) -> None:
        self.house.await_blocked_ledger("transactionid")


class WhileItCommits(Crash):
    """COMMIT has been sent: Postgres carries it out although nobody waits for the answer."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        house.run(STOP_AT_COMMIT)

    @contextmanager
    def held(self, worker: Worker) -> Iterator[None]:
        with self.house.engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(4711)"))
            yield

    def reached(self, keys: list[str]) -> None:
        self.house.await_blocked_ledger("advisory")


class BeforeTheAcknowledgement(Crash):
    """Everything is committed, and no acknowledgement reaches the broker."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._proxies: dict[int, Proxy] = {}

    def worker(self) -> Worker:
        url = urlsplit(self.house.settings.broker_url.get_secret_value())
        proxy = Proxy(str(url.hostname), url.port or 0)
        through = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{proxy.port}")
        worker = self.house.worker(broker_url=SecretStr(through.geturl()))
        self._proxies[worker.process.pid] = proxy
        return worker

    @contextmanager
    def held(self, worker: Worker) -> Iterator[None]:
        proxy = self._proxies[worker.process.pid]
        proxy.hold()
        yield
        proxy.close()

    def reached(self, keys: list[str]) -> None:
        self.house.await_decided(keys)


@pytest.mark.parametrize(
    "point", [BeforeAnythingIsWritten, WhileItCommits, BeforeTheAcknowledgement]
)
def test_a_worker_that_is_killed_leaves_one_outcome_for_each_key_in_order(
    open_house: Callable[..., House], point: type[Crash]
) -> None:
    house = open_house()
    crash = point(house)
    sent: list[Any] = []
    active, standby = crash.worker().ready(), crash.worker()
    for round_number in range(KILLS):
        standby.ready()
        batch = house.transfers(24, f"r{round_number}-", partitions=3)
        sent += batch
        with crash.held(active):
            house.publish(batch)
            crash.reached([each.idempotency_key for each in batch])
            active.kill()
        active, standby = standby, crash.worker()
        house.await_decided(each.idempotency_key for each in batch)

    house.assert_decided_in_order(sent)
    standby.ready()
    house.assert_all_acknowledged()

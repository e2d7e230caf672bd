"""The plain design set up on the bench's ground, and what it drains in a second."""

from typing import Final

from celery import Celery
from sqlalchemy import Engine, text

from bench.bench import Bench
from bench.ground import BenchProcess, Ground
from bench.plain.app import QUEUE, TASK, plain_app, plain_engine
from bench.plain.posting import Order
from bench.plain.tables import Base
from bench.transfers import CURRENCY, uniform
from bench.watched import Watched

DATABASE: Final = "plain"

ACCOUNTS: Final = text("""
    INSERT INTO accounts (id, currency, balance, floor)
    SELECT CAST(md5('wallet ' || number) AS uuid), :currency, 0, -1000000000
    FROM generate_series(0, :wallets - 1) AS number
""")


class PlainDesign:
    """Its database with so many accounts, its queue, and its worker."""

    def __init__(self, ground: Ground, wallets: int) -> None:
        self._ground = ground
        self._redis_url = ground.services.redis_url.removesuffix("/0") + "/1"
        ground.create_database(DATABASE)
        self.engine: Engine = plain_engine(ground.database_url(DATABASE))
        Base.metadata.create_all(self.engine)
        with self.engine.begin() as connection:
            connection.execute(ACCOUNTS, {"currency": CURRENCY, "wallets": wallets})
        ground.command("VACUUM ANALYZE", DATABASE)
        self._app: Celery = plain_app(*self._urls().values())
        self._watched = Watched(self._redis_url)

    def publish(self, orders: list[Order]) -> None:
        """Put tasks in its queue, each confirmed by the broker."""
        with self._app.producer_pool.acquire(block=True) as producer:
            # One at a time is slow, but none of it is measured.
            for order in orders:
                self._app.send_task(TASK, (order,), producer=producer, queue=QUEUE)

    def per_s(self, orders: list[Order]) -> float:
        """Orders a second, all waiting in the queue, from the first result on."""
        self._watched.clear()
        self.publish(orders)
        self._ground.settle()
        with self._ground.running(self.worker()):
            return self._watched.per_s(len(orders))

    def results(self) -> int:
        """How many results there are."""
        return self._watched.count()

    def worker(self) -> BenchProcess:
        """Its worker, with as many processes as are best for it."""
        return BenchProcess("plain", self._ground, ["bench.plain"], self._variables)

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()
        self._watched.close()
        self._app.close()

    def _urls(self) -> dict[str, str]:
        return {
            "PLAIN_BROKER_URL": self._ground.services.broker_url,
            "PLAIN_REDIS_URL": self._redis_url,
            "PLAIN_DATABASE_URL": self._ground.database_url(DATABASE),
        }

    def _variables(self) -> dict[str, str]:
        return self._ground.variables() | self._urls()


def orders(bench: Bench, count: int) -> list[Order]:
    """Transfers between wallets drawn uniformly, as the plain design takes them."""
    transfers = bench.transfers()
    draw = uniform(bench.sizes.wallets, bench.chance)
    return [
        Order(idempotency_key=transfers.key(), **transfers.data(draw, draw))  # type: ignore[typeddict-item]
        for _ in range(count)
    ]

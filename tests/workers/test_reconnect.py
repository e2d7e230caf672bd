"""A connection that is lost takes with it what came by it: the broker brings that again."""

from collections.abc import Callable

from sqlalchemy import text

from tests.bookkeeping import wallet_id
from tests.support import wait_until
from tests.workers.house import House


def test_what_was_held_when_the_connection_was_lost_is_dropped(
    open_house: Callable[..., House],
) -> None:
    """Kept, it would be acknowledged by tags of another channel, for which that is closed."""
    house = open_house(batch_size=20, statement_timeout_ms=1000)
    worker = house.worker().ready()
    before = house.transfers(100, "before", partitions=1)
    house.publish(before)
    house.await_decided(each.idempotency_key for each in before)
    held = house.transfers(20, "held", partitions=1)
    lock = text("SELECT 1 FROM wallets WHERE id = :id FOR UPDATE")
    with house.engine.connect() as connection:
        connection.execute(lock, {"id": wallet_id(house.names[0])})
        house.publish(held)
        house.await_blocked_ledger("transactionid")
        house.services.rabbitmq.ctl("close_all_connections", "--global", "tests")
        wait_until(lambda: len(worker.logged("consuming")) == 2, 20)

    house.await_decided(each.idempotency_key for each in held)
    house.assert_decided_in_order(before + held)
    later = house.transfers(8, "later")
    house.publish(later)
    house.await_decided(each.idempotency_key for each in later)
    assert len(worker.logged("consuming")) == 2
    house.assert_all_acknowledged()

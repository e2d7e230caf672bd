"""Two workers for the same partitions: one decides, the other takes over, the order stays."""

from collections.abc import Callable

from sqlalchemy import text

from storage import partitions
from tests.bookkeeping import wallet_id
from tests.support import wait_until
from tests.workers.house import House


def test_sigterm_with_a_backlog_hands_over_to_the_standby_in_order(
    open_house: Callable[..., House],
) -> None:
    house = open_house(batch_size=20)
    sent = house.transfers(6000)
    house.publish(sent)
    active = house.worker().ready()

    def await_more_than(count: int) -> None:
        wait_until(lambda: len(house.decided()) > count)

    for hand_over in range(1, 4):
        standby = house.worker().ready()
        await_more_than(hand_over * 300)

        assert active.terminate() == 0

        active = standby

    house.await_decided(each.idempotency_key for each in sent)
    house.assert_decided_in_order(sent)
    house.assert_all_acknowledged()


def test_a_worker_frozen_in_mid_transaction_is_replaced_and_comes_back_as_the_standby(
    open_house: Callable[..., House],
) -> None:
    house = open_house(statement_timeout_ms=500)  # The heartbeat follows: 2 s.
    frozen = house.worker().ready()
    standby = house.worker().ready()
    sent = house.transfers(20, partitions=1)
    with house.engine.connect() as connection:
        connection.execute(
            text("SELECT 1 FROM wallets WHERE id = :id FOR UPDATE"),
            {"id": wallet_id(house.names[0])},
        )
        house.publish(sent)
        house.await_blocked_ledger("transactionid")
        frozen.stop()

    house.await_decided([each.idempotency_key for each in sent], timeout_s=40)
    frozen.go_on()
    wait_until(lambda: len(frozen.logged("consuming")) == 2, 20, what="a reconnection")
    standby.kill()
    later = house.transfers(20, "later")
    house.publish(later)

    house.await_decided(each.idempotency_key for each in later)
    house.assert_decided_in_order(sent + later)
    house.assert_all_acknowledged()


def test_a_pause_holds_whoever_is_active_and_ends_in_order(house: House) -> None:
    active = house.worker().ready()
    standby = house.worker().ready()
    partitions.pause(house.engine, 0, "tests", "a pause")
    waiting = house.transfers(300, "waiting", partitions=1)
    house.publish(waiting)
    wait_until(lambda: active.logged("paused by an operator"))
    wait_until(lambda: standby.logged("paused by an operator"))

    active.kill()
    others = house.transfers(70, "others")[1::8]
    house.publish(others)
    house.await_decided(each.idempotency_key for each in others)
    assert not [key for key in house.decided(0) if key.startswith("waiting")]

    partitions.resume(house.engine, 0, "tests", "enough")

    house.await_decided(each.idempotency_key for each in waiting)
    house.assert_decided_in_order(waiting + others)
    house.assert_all_acknowledged()

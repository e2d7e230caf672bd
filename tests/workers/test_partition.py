"""One partition without a broker: what is acknowledged, when, and what is held."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from domain.instructions import Instruction, encode
from storage import partitions
from storage.engine import ledger_engine
from storage.ledger import Ledger
from storage.outcomes import Outcomes
from tests.bookkeeping import transfer
from tests.support import overheard
from tests.workers.house import PARTITIONS, House
from workers.announce import Announcer
from workers.callbacks.app import callbacks_app
from workers.delivery import Delivery
from workers.flower import FlowerEvents
from workers.handover import Handover
from workers.partition import Office, Partition

NO_PROPERTIES = b"\x00\x3c" + 12 * b"\0"
"""A content header that says nothing."""

REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{state}'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON instructions FOR EACH ROW
    WHEN (NEW.reference = 'bad') EXECUTE FUNCTION refuse();
"""


class Desk:
    """A partition, with all that it acknowledged."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.acknowledged: list[int] = []
        self.engine = ledger_engine(house.settings)
        self.said = overheard(self.engine)
        self.office = Office(
            ledger=Ledger(self.engine, PARTITIONS),
            engine=self.engine,
            announcer=Announcer(Outcomes(house.settings.redis_url.get_secret_value(), 60)),
            events=FlowerEvents(0),
            handover=Handover(callbacks_app(house.settings)),
            partitions=PARTITIONS,
            batch_size=house.settings.batch_size,
        )
        self.partition = Partition(0, self.office, self._ack)
        self._tag = 0

    def deliver(self, *instructions: Instruction | bytes) -> None:
        for each in instructions:
            self._tag += 1
            body = each if isinstance(each, bytes) else encode(each)
            now = datetime.now(UTC).timestamp()
            self.partition.take(Delivery(self._tag, body, NO_PROPERTIES, now))

    def settle_all(self) -> None:
        while len(self.partition):
            self.partition.settle()

    def _ack(self, tag: int) -> None:
        decided = len([key for key in self.house.decided(0) if key.startswith("k")])
        assert decided + len(self.house.parked()) >= tag, "acknowledged before the commit"
        self.acknowledged.append(tag)


@pytest.fixture
def desk_in(open_house: Callable[..., House]) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(**overrides: object) -> Desk:
        desks.append(Desk(open_house(**overrides)))
        return desks[-1]

    yield make
    for desk in desks:
        desk.engine.dispose()


def paid(desk: Desk, key: str, reference: str = "good") -> Instruction:
    return transfer(key, desk.house.names[0], desk.house.names[1], 1, reference=reference)


def test_a_batch_is_one_transaction_and_one_acknowledgement_after_it(
    desk_in: Callable[..., Desk],
) -> None:
    desk = desk_in()
    desk.deliver(*(paid(desk, f"k{n}") for n in range(20)))

    assert desk.partition.settle() is None

    assert desk.acknowledged == [20]
    assert [said for said in desk.said if said.startswith(("BEGIN", "COMMIT"))] == [
        "BEGIN; EXECUTE take_partition",
        "COMMIT",
    ]


def test_a_batch_takes_no_more_than_its_size_and_says_that_more_waits(
    desk_in: Callable[..., Desk],
) -> None:
    desk = desk_in(batch_size=8)
    desk.deliver(*(paid(desk, f"k{n}") for n in range(17)))

    assert desk.partition.settle() == 0.0
    assert desk.partition.settle() is None

    assert desk.acknowledged == [8, 16]
    assert len(desk.partition) == 1


def test_what_cannot_be_parked_is_held_not_lost(desk_in: Callable[..., Desk]) -> None:
    desk = desk_in()
    desk.house.run("ALTER TABLE parked RENAME TO parked_elsewhere")
    desk.deliver(paid(desk, "k1"), b"not an instruction", paid(desk, "k2"))

    wait_s = desk.partition.settle()

    assert wait_s is not None
    assert 0 < wait_s <= 1
    assert desk.acknowledged == []
    assert len(desk.partition) == 3
    desk.house.run("ALTER TABLE parked_elsewhere RENAME TO parked")
    desk.settle_all()
    assert desk.acknowledged[-1] == 3
    assert len(desk.house.parked()) == 1


def test_trouble_while_going_one_by_one_resumes_where_it_was(
    desk_in: Callable[..., Desk],
) -> None:
    desk = desk_in()
    desk.house.run(REFUSE.format(state="check_violation"))
    desk.deliver(paid(desk, "k1"), paid(desk, "k2"), paid(desk, "k3", "bad"), paid(desk, "k4"))
    desk.partition.settle()
    desk.partition.settle()
    assert desk.acknowledged == [1]

    desk.house.run("ALTER TABLE wallets RENAME TO wallets_elsewhere")
    assert desk.partition.settle()
    assert desk.partition.in_trouble
    desk.house.run("ALTER TABLE wallets_elsewhere RENAME TO wallets")
    desk.settle_all()

    assert desk.acknowledged == [1, 2, 3, 4]
    assert [key for key in desk.house.decided(0) if key.startswith("k")] == ["k1", "k2", "k4"]


def test_a_conflict_that_never_ends_is_parked_in_the_end(desk_in: Callable[..., Desk]) -> None:
    desk = desk_in()
    desk.house.run(REFUSE.format(state="unique_violation"))
    desk.deliver(paid(desk, "k1"), paid(desk, "k2", "bad"), paid(desk, "k3"))
    runs = 0
    while len(desk.partition):
        desk.partition.settle()
        runs += 1

    assert runs < 60
    assert [key for key in desk.house.decided(0) if key.startswith("k")] == ["k1", "k3"]
    assert [each.reason for each in desk.house.parked()] == ["undecided: UniqueViolation 23505"]


def test_a_batch_that_times_out_gets_smaller_until_it_gets_through(
    desk_in: Callable[..., Desk],
) -> None:
    desk = desk_in(batch_size=64, statement_timeout_ms=300)
    desk.house.run("""
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;
        CREATE TRIGGER dawdle AFTER INSERT ON instructions FOR EACH ROW EXECUTE FUNCTION dawdle();
    """)
    desk.deliver(*(paid(desk, f"k{n}") for n in range(64)))

    desk.settle_all()

    assert [key for key in desk.house.decided(0) if key.startswith("k")] == [
        f"k{n}" for n in range(64)
    ]
    assert desk.house.parked() == []


def test_a_paused_partition_decides_nothing_and_says_so(desk_in: Callable[..., Desk]) -> None:
    desk = desk_in()
    partitions.pause(desk.house.engine, 0, "tests", "a pause")
    desk.deliver(paid(desk, "k1"))

    assert desk.partition.settle() is None

    assert desk.partition.paused
    assert desk.acknowledged == []

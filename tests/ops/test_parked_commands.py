import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import amqp
import pytest
from sqlalchemy import Engine, text

from config.broker import partition_queue
from config.settings import Settings
from domain.identity import partition_of
from domain.instructions import Instruction, decode, encode
from ops.stack.services import Services
from producers.connection import connection, open_channel
from producers.topology import declare
from storage import parked, reads
from storage.engine import read_engine
from tests.bookkeeping import deposit, open_customer, transfer, withdrawal
from tests.ops.books import PARTITIONS, actions, books_of_alice_and_bob, post
from tests.ops.conftest import Operator
from tests.support import wait_until

WHY = ("--who", "ada", "--reason", "ticket 7")


def _park(
    engine: Engine, body: bytes | Instruction, partition: int = 0, reason: str = "wrong partition"
) -> int:
    """Park a message as a worker would; returns its number."""
    instruction = None if isinstance(body, bytes) else body
    parked.park(
        engine,
        partition,
        body if isinstance(body, bytes) else encode(body),
        {"content_type": "application/json"},
        reason,
        None if instruction is None else instruction.id,
        datetime.now(UTC),
    )
    return parked.list_unresolved(engine)[-1].id


def _resolution(engine: Engine, parked_id: int) -> str | None:
    return parked.find(engine, parked_id).resolution


@contextmanager
def _channel(services: Services) -> Iterator[amqp.Channel]:
    opening = connection(services.broker_url, "test")
    try:
        yield open_channel(opening)
    finally:
        opening.collect()


def _first_in(services: Services, partition: int) -> bytes:
    """The first message of a partition's queue, which stays there."""
    taken: list[bytes] = []
    with _channel(services) as channel:
        channel.auto_decode = False
        channel.basic_consume(
            partition_queue(partition).name, callback=lambda message: taken.append(message.body)
        )
        while not taken:
            channel.connection.drain_events(timeout=10)
    return bytes(taken[0])


@pytest.fixture
def queues(services: Services) -> None:
    declare(services.broker_url, PARTITIONS)
    with _channel(services) as channel:
        for number in range(PARTITIONS):
            channel.queue_purge(partition_queue(number).name)


@pytest.mark.usefixtures("settings")
def test_nothing_is_parked_at_first(tekana: Operator) -> None:
    assert tekana("parked", "list").stdout == "Nothing is parked.\n"
    assert json.loads(tekana("parked", "list", "--json").stdout) == []


def test_what_waits_is_listed_oldest_first(engine: Engine, tekana: Operator) -> None:
    first = _park(engine, b"no instruction", reason="undecodable: message: Invalid JSON")
    second = _park(engine, deposit("d9", "alice", 5))

    listed = json.loads(tekana("parked", "list", "--json").stdout)

    assert [row["id"] for row in listed] == [first, second]
    assert "undecodable" in tekana("parked", "list").stdout
    assert "1 more wait" in tekana("parked", "list", "--limit", 1).stdout


def test_a_message_is_shown_with_its_bytes_and_without_their_effects(
    engine: Engine, tekana: Operator
) -> None:
    number = _park(engine, b"\x1b[31mred \xff [bold]not bold[/] \x00", reason="undecodable")

    shown = tekana("parked", "show", number).stdout

    assert r"\x1b[31mred \xff [bold]not bold[/] \x00" in shown
    assert "\x1b" not in shown
    assert json.loads(tekana("parked", "show", number, "--json").stdout)["id"] == number


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("verb", [("show",), ("retry", *WHY), ("reject", *WHY)])
@pytest.mark.parametrize("number", ["7", "0", "-1", "seven", str(2**63)])
def test_an_unknown_number_is_refused(verb: tuple[str, ...], number: str, tekana: Operator) -> None:
    done = tekana("parked", *verb, "--", number)

    assert done.exit_code != 0
    assert "Error" in done.stderr


@pytest.mark.usefixtures("queues")
def test_retry_publishes_to_the_partition_where_it_belongs(
    services: Services, engine: Engine, tekana: Operator
) -> None:
    books_of_alice_and_bob(engine)
    instruction = transfer("t9", "alice", "bob", 5)
    right = partition_of(instruction.partition_key, PARTITIONS)
    number = _park(engine, instruction, partition=(right + 1) % PARTITIONS)

    done = tekana("parked", "retry", number, *WHY)

    assert done.exit_code == 0, done.output
    assert instruction.id in done.stdout
    assert decode(_first_in(services, right)) == instruction
    assert _resolution(engine, number) == "retried"
    assert actions(engine)[-1] == ("ada", "parked.retried", str(number), "ticket 7")


def test_a_message_that_a_worker_parks_again_during_its_retry_is_not_lost(
    settings: Settings, engine: Engine
) -> None:
    others = read_engine(settings)
    instruction = deposit("d9", "alice", 5)
    number = _park(engine, instruction)
    with engine.begin() as connection:
        # As `retry` does: marked, published, and a worker is quicker than the commit.
        parked.resolve(connection, number, "retried", who="ada", reason="ticket 7")
        worker = threading.Thread(target=_park, args=(others, instruction))
        worker.start()
        wait_until(lambda: _waits_for_a_lock(others))
    worker.join()
    others.dispose()

    waiting = parked.list_unresolved(engine)
    assert [message.instruction_id for message in waiting] == [instruction.id]
    assert waiting[0].id != number


def _waits_for_a_lock(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(
            connection.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                    "AND datname = current_database()"
                )
            )
        )


def test_without_the_broker_a_retry_leaves_the_message_parked(
    engine: Engine, tekana: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEKANA_BROKER_URL", "amqp://guest:hunter2@127.0.0.1:9/")
    number = _park(engine, deposit("d9", "alice", 5))

    done = tekana("parked", "retry", number, *WHY)

    assert done.exit_code == 1
    assert "did not confirm" in done.stderr
    assert _resolution(engine, number) is None
    assert actions(engine) == []


def test_what_is_no_instruction_cannot_be_retried(engine: Engine, tekana: Operator) -> None:
    number = _park(engine, b"{}", reason="undecodable: message: Unable to extract tag")

    done = tekana("parked", "retry", number, *WHY)

    assert done.exit_code == 1
    assert "it is no instruction" in done.stderr
    assert f"./tekana parked reject {number}" in done.stderr
    assert _resolution(engine, number) is None


def test_what_is_no_instruction_is_discarded_when_it_is_rejected(
    engine: Engine, tekana: Operator
) -> None:
    number = _park(engine, b"{}", reason="undecodable")

    done = tekana("parked", "reject", number, *WHY)

    assert done.exit_code == 0, done.output
    assert "discarded" in done.stdout
    assert _resolution(engine, number) == "discarded"
    assert parked.find(engine, number).body == b"{}"


@pytest.mark.parametrize("kind", ["transfer", "deposit", "withdrawal", "customer.open"])
def test_a_rejected_instruction_has_its_outcome_for_ever(
    kind: str, engine: Engine, tekana: Operator
) -> None:
    client_id = books_of_alice_and_bob(engine)
    bodies: dict[str, Instruction] = {
        "transfer": transfer("p1", "alice", "bob", 5, client_id=client_id),
        "deposit": deposit("p1", "alice", 5, client_id=client_id),
        "withdrawal": withdrawal("p1", "alice", 5, client_id=client_id),
        "customer.open": open_customer("p1", "carol", client_id),
    }
    instruction = bodies[kind]
    number = _park(engine, instruction)

    done = tekana("parked", "reject", number, *WHY)
    post(engine, instruction)

    assert done.exit_code == 0, done.output
    view = reads.instruction(engine, client_id, instruction.id)
    assert view is not None
    assert view["status"] == "rejected"
    assert view["rejection"]["code"] == "operator_rejected"
    assert _resolution(engine, number) == "rejected"
    assert actions(engine)[-1] == ("ada", "parked.rejected", str(number), "ticket 7")
    assert tekana("verify").exit_code == 0


def test_an_outcome_that_was_there_before_a_rejection_stands(
    engine: Engine, tekana: Operator
) -> None:
    client_id = books_of_alice_and_bob(engine)
    instruction = transfer("t1", "alice", "bob", 300, client_id=client_id)
    number = _park(engine, instruction)

    done = tekana("parked", "reject", number, *WHY)

    assert done.exit_code == 0, done.output
    assert "had an outcome before (succeeded), which stands" in done.stdout
    assert _resolution(engine, number) == "rejected"
    assert tekana("verify").exit_code == 0


def test_an_instruction_of_nobody_is_discarded(engine: Engine, tekana: Operator) -> None:
    number = _park(engine, deposit("d9", "alice", 5, client_id=77))

    done = tekana("parked", "reject", number, *WHY)

    assert done.exit_code == 0, done.output
    assert _resolution(engine, number) == "discarded"


def test_what_is_resolved_cannot_be_resolved_again(engine: Engine, tekana: Operator) -> None:
    number = _park(engine, b"{}", reason="undecodable")
    tekana("parked", "reject", number, *WHY)

    for verb in ("retry", "reject"):
        done = tekana("parked", verb, number, *WHY)

        assert done.exit_code == 1
        assert "does not wait any more: discarded" in done.stderr
    assert len(actions(engine)) == 1


def test_a_rejection_fits_the_database_whatever_the_settings_say(
    settings: Settings, engine: Engine, tekana: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEKANA_PARTITIONS", "64")
    client_id = books_of_alice_and_bob(engine)
    number = _park(engine, transfer("p1", "alice", "bob", 5, client_id=client_id))

    assert tekana("parked", "reject", number, *WHY).exit_code == 0
    assert tekana("verify").exit_code == 0

import json

import amqp
import pytest
from sqlalchemy import Engine

from config.broker import partition_queue
from config.settings import Settings
from domain.identity import partition_of
from ops.stack.services import Services
from producers.connection import connection, open_channel
from producers.instructions import publish_all
from producers.publisher import Publisher
from producers.topology import declare, declaring
from storage.partitions import is_paused
from tests.bookkeeping import deposit, wallet_id
from tests.ops.books import PARTITIONS, actions, books_of_alice_and_bob
from tests.ops.conftest import Operator
from tests.support import wait_until

WHY = ("--reason", "disk swap")


@pytest.fixture
def queues(services: Services) -> None:
    """All queues of 8 partitions, empty."""
    declare(services.broker_url, PARTITIONS)
    opening = connection(services.broker_url, "test")
    channel = open_channel(opening)
    for number in range(PARTITIONS):
        channel.queue_purge(partition_queue(number).name)
    opening.close()


def _listed(tekana: Operator) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = json.loads(tekana("partition", "list", "--json").stdout)
    return listed


@pytest.mark.usefixtures("queues")
def test_partitions_are_listed_with_what_they_decided(engine: Engine, tekana: Operator) -> None:
    books_of_alice_and_bob(engine)

    listed = _listed(tekana)

    assert [row["partition"] for row in listed] == list(range(PARTITIONS))
    assert sum(int(str(row["decided"])) for row in listed) == 8
    assert {(row["waiting"], row["consumers"]) for row in listed} == {(0, 0)}


@pytest.mark.usefixtures("queues")
def test_what_waits_for_a_worker_is_counted(settings: Settings, tekana: Operator) -> None:
    publisher = Publisher(
        settings.broker_url.get_secret_value(),
        name="test",
        confirm_timeout_s=10,
        declare=declaring(PARTITIONS),
    )
    assert (
        publish_all(publisher, [deposit(n, "alice", 5) for n in range(3)], PARTITIONS) == [None] * 3
    )
    publisher.close()
    number = partition_of(wallet_id("alice"), PARTITIONS)

    wait_until(lambda: _listed(tekana)[number]["waiting"] == 3)
    assert sum(int(str(row["waiting"])) for row in _listed(tekana)) == 3


@pytest.mark.usefixtures("queues")
def test_a_missing_queue_hides_no_other(
    services: Services, settings: Settings, tekana: Operator
) -> None:
    opening = connection(services.broker_url, "test")
    channel = open_channel(opening)
    channel.queue_delete(partition_queue(2).name)
    opening.close()

    waiting = [row["waiting"] for row in _listed(tekana)]

    assert waiting == [0, 0, None, 0, 0, 0, 0, 0]


@pytest.mark.usefixtures("queues")
def test_a_pause_is_told_plainly_and_shown_with_who_and_why(
    engine: Engine, tekana: Operator
) -> None:
    done = tekana("partition", "pause", 3, "--who", "ada", *WHY)

    assert done.exit_code == 0, done.output
    assert "the active worker and any standby both close their queue and wait" in done.stdout
    assert "messages stay in the queue in order" in done.stdout
    assert is_paused(engine, 3)
    row = _listed(tekana)[3]
    assert (row["paused_by"], row["pause_reason"]) == ("ada", "disk swap")
    assert "by ada: disk swap" in tekana("partition", "list").stdout

    assert tekana("partition", "resume", 3, "--who", "bob", "--reason", "new disk").exit_code == 0
    assert not is_paused(engine, 3)
    assert actions(engine) == [
        ("ada", "partition.pause", "3", "disk swap"),
        ("bob", "partition.resume", "3", "new disk"),
    ]


def test_pausing_twice_and_resuming_what_runs_change_nothing(
    engine: Engine, tekana: Operator
) -> None:
    assert tekana("partition", "resume", 0, *WHY).exit_code == 1
    assert tekana("partition", "pause", 0, *WHY).exit_code == 0
    again = tekana("partition", "pause", 0, *WHY)

    assert again.exit_code == 1
    assert "paused already" in again.stderr
    assert len(actions(engine)) == 1


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("number", ["8", "-1", "one", "99999"])
def test_there_is_no_such_partition(number: str, tekana: Operator) -> None:
    for verb in ("pause", "resume"):
        done = tekana("partition", verb, *WHY, "--", number)

        assert done.exit_code != 0
        assert "Error" in done.stderr


@pytest.mark.usefixtures("settings")
def test_a_change_needs_a_reason(tekana: Operator) -> None:
    done = tekana("partition", "pause", 0)

    assert done.exit_code == 2
    assert "--reason" in done.stderr


def test_the_list_does_without_the_broker(
    engine: Engine, tekana: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEKANA_BROKER_URL", "amqp://guest:hunter2@127.0.0.1:9/")

    done = tekana("partition", "list")

    assert done.exit_code == 0
    assert "The broker does not answer" in done.stderr
    assert "hunter2" not in done.output
    assert "?" in done.stdout


def test_a_wrong_password_of_the_broker_is_told_too(
    services: Services, engine: Engine, tekana: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = services.broker_url.rpartition("@")[2]
    monkeypatch.setenv("TEKANA_BROKER_URL", f"amqp://nobody:hunter2@{address}")

    done = tekana("partition", "list")

    assert done.exit_code == 0
    assert amqp.AccessRefused.__name__ in done.stderr
    assert "hunter2" not in done.output

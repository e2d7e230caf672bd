"""What Redis remembers, and what happens when Redis does not answer."""

import multiprocessing
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
import redis

from domain.instructions import Transfer
from ops.stack.services import Services
from storage.outcomes import Noted, Outcomes, Put
from storage.redis_link import PAUSE_S, TIMEOUT_S
from storage.waiting import Waiting
from tests.bookkeeping import transfer
from tests.support import wait_until

TTL_S = 60


@pytest.fixture
def outcomes(services: Services) -> Iterator[Outcomes]:
    made = Outcomes(services.redis_url, TTL_S)
    yield made
    made.close()


@pytest.fixture
def waiting(services: Services) -> Iterator[Waiting]:
    made = Waiting(services.redis_url)
    yield made
    made.close()


@pytest.fixture
def paused(services: Services) -> Iterator[None]:
    services.redis.pause()
    try:
        yield
    finally:
        services.redis.resume()


def an_instruction() -> Transfer:
    return transfer(uuid.uuid4(), "alice", "bob", 100)


def known(outcomes: Outcomes, instruction: Transfer) -> Noted:
    found = outcomes.get(instruction.id)
    assert found is not None
    return found


def put_of(instruction: Transfer, status: str = "succeeded", view: bytes = b"{}") -> Put:
    return Put(instruction.id, instruction.client_id, instruction.fingerprint, status, view)


def seconds(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


def test_a_note_tells_what_was_noted_before_and_does_not_replace_it(outcomes: Outcomes) -> None:
    first, again = an_instruction(), an_instruction()

    assert outcomes.note([(first, b'{"at":1}'), (again, b'{"at":2}')]) == [None, None]

    assert outcomes.note([(first, b'{"at":3}')]) == [
        Noted(first.client_id, first.fingerprint, "queued", b'{"at":1}')
    ]
    assert outcomes.get(first.id) == Noted(
        first.client_id, first.fingerprint, "queued", b'{"at":1}'
    )


def test_of_two_notes_for_one_id_in_one_pipeline_the_second_is_told_of_the_first(
    outcomes: Outcomes,
) -> None:
    instruction = an_instruction()

    before = outcomes.note([(instruction, b"{1}"), (instruction, b"{2}")])

    assert before == [None, Noted(instruction.client_id, instruction.fingerprint, "queued", b"{1}")]


def test_an_outcome_replaces_the_note_and_a_later_note_does_not_replace_the_outcome(
    outcomes: Outcomes,
) -> None:
    instruction = an_instruction()
    outcomes.note([(instruction, b"{}")])

    outcomes.put([put_of(instruction)])

    assert outcomes.note([(instruction, b"{}")]) == [known(outcomes, instruction)]
    assert known(outcomes, instruction).decided


def test_a_view_may_hold_any_text(outcomes: Outcomes) -> None:
    instruction = an_instruction()
    view = '{"reference":"Zürich\\n 東京 $5\\r\\n"}\n\r\n'.encode()

    outcomes.put([put_of(instruction, view=view)])

    assert known(outcomes, instruction).view == view


def test_parked_is_remembered_but_is_no_decision(outcomes: Outcomes) -> None:
    instruction = an_instruction()

    outcomes.put([put_of(instruction, status="parked", view=b"{}")])

    assert known(outcomes, instruction).status == "parked"
    assert not known(outcomes, instruction).decided


def test_everything_is_forgotten_in_time(outcomes: Outcomes, services: Services) -> None:
    noted, decided = an_instruction(), an_instruction()
    outcomes.note([(noted, b"{}")])
    outcomes.put([put_of(decided)])

    with redis.Redis.from_url(services.redis_url) as client:
        assert 0 < client.ttl(f"i:{noted.id}") <= TTL_S
        assert 0 < client.ttl(f"i:{decided.id}") <= TTL_S


def test_what_somebody_else_wrote_under_our_key_is_as_good_as_nothing(
    outcomes: Outcomes, services: Services
) -> None:
    instruction = an_instruction()
    with redis.Redis.from_url(services.redis_url) as client:
        client.set(f"i:{instruction.id}", b"\xff nonsense")

    assert outcomes.get(instruction.id) is None


def test_a_waiter_is_told_by_a_put_of_its_own_instruction_only(
    outcomes: Outcomes, waiting: Waiting
) -> None:
    mine, other = an_instruction(), an_instruction()

    with waiting.on(mine.id) as waiter:
        assert waiter.listening
        outcomes.put([put_of(other)])
        assert not waiter.wait(0.2)
        outcomes.put([put_of(an_instruction()), put_of(mine), put_of(an_instruction())])
        assert waiter.wait(5)


def test_two_who_wait_for_one_instruction_are_both_told(
    outcomes: Outcomes, waiting: Waiting
) -> None:
    instruction = an_instruction()

    with waiting.on(instruction.id) as one, waiting.on(instruction.id) as two:
        outcomes.put([put_of(instruction)])
        assert one.wait(5)
        assert two.wait(5)


def test_nothing_put_once_on_has_returned_is_missed_by_whoever_comes_first(
    outcomes: Outcomes, services: Services
) -> None:
    for _ in range(20):
        instruction, waiting = an_instruction(), Waiting(services.redis_url)
        with waiting.on(instruction.id) as waiter:
            outcomes.put([put_of(instruction)])
            assert waiter.wait(5)
        threading.Thread(target=waiting.close, daemon=True).start()


def test_a_process_that_forks_after_it_has_used_redis_speaks_for_itself(
    outcomes: Outcomes, waiting: Waiting
) -> None:
    instruction = an_instruction()
    outcomes.note([(instruction, b"{}")])
    with waiting.on(instruction.id):
        pass

    def in_the_child() -> None:
        with waiting.on(instruction.id) as waiter:
            outcomes.put([put_of(instruction)])
            assert waiter.wait(5)

    child = multiprocessing.get_context("fork").Process(target=in_the_child)
    child.start()
    child.join(20)

    assert child.exitcode == 0
    assert known(outcomes, instruction).decided


@pytest.mark.usefixtures("paused")
def test_a_redis_that_hangs_costs_one_timeout_and_then_nothing_for_a_while(
    outcomes: Outcomes, waiting: Waiting
) -> None:
    instruction = an_instruction()

    assert seconds(lambda: outcomes.get(instruction.id)) < 3 * TIMEOUT_S
    assert seconds(lambda: outcomes.note([(instruction, b"{}")])) < 0.05
    assert seconds(lambda: outcomes.put([put_of(instruction)])) < 0.05
    assert outcomes.note([(instruction, b"{}"), (instruction, b"{}")]) == [None, None]
    with waiting.on(instruction.id) as waiter:
        assert not waiter.listening
        assert not waiter.wait(0.1)


@pytest.mark.usefixtures("paused")
def test_of_many_threads_only_one_in_each_pause_finds_out_that_redis_hangs(
    outcomes: Outcomes,
) -> None:
    outcomes.get("x")
    start = time.monotonic()
    waited: list[float] = []

    def poll() -> None:
        while time.monotonic() < start + 1.5 * PAUSE_S:
            waited.append(seconds(lambda: outcomes.get("x")))
            time.sleep(0.005)

    threads = [threading.Thread(target=poll) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len([wait_s for wait_s in waited if wait_s > TIMEOUT_S / 2]) <= 2


def test_redis_killed_is_nothing_known_and_once_back_all_goes_on(
    outcomes: Outcomes, waiting: Waiting, services: Services
) -> None:
    instruction = an_instruction()
    outcomes.put([put_of(instruction)])
    with waiting.on(instruction.id):
        services.redis.kill()
        try:
            assert outcomes.get(instruction.id) is None
            assert outcomes.note([(instruction, b"{}")]) == [None]
            outcomes.put([put_of(instruction)])
            assert not outcomes.reachable()
        finally:
            services.redis.start()

    wait_until(outcomes.reachable)
    outcomes.put([put_of(instruction)])
    assert known(outcomes, instruction).decided
    other = an_instruction()
    with waiting.on(other.id) as waiter:
        wait_until(lambda: waiter.listening)
        outcomes.put([put_of(other)])
        assert waiter.wait(5)


def test_a_redis_that_is_full_is_nothing_known(outcomes: Outcomes, services: Services) -> None:
    instruction = an_instruction()
    with redis.Redis.from_url(services.redis_url) as client:
        before = client.config_get("maxmemory", "maxmemory-policy")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        try:
            assert outcomes.note([(instruction, b"{}")]) == [None]
            outcomes.put([put_of(instruction)])
            assert outcomes.get(instruction.id) is None
        finally:
            for name, value in before.items():
                client.config_set(name, value)


def test_a_wrong_password_is_nothing_known(services: Services) -> None:
    stranger = Outcomes(services.redis_url.replace("://:", "://:wrong"), TTL_S)

    assert stranger.get("x") is None
    assert not stranger.reachable()


def test_whoever_may_not_silence_redis_never_takes_one_answer_for_another(
    services: Services,
) -> None:
    instruction, other = an_instruction(), an_instruction()
    with redis.Redis.from_url(services.redis_url) as client:
        rights = ["+get", "+set", "+ping", "+publish"]
        client.acl_setuser(
            "loud", enabled=True, passwords=["+p"], keys="*", channels="*", commands=rights
        )
        loud = Outcomes(f"redis://loud:p@{services.redis_url.rpartition('@')[2]}", TTL_S)
        try:
            loud.put([put_of(instruction), put_of(other)])
            # Redis is left alone for a while, as after any fault.
            wait_until(loud.reachable)

            assert known(loud, other).decided
            assert loud.note([(an_instruction(), b"{}")]) == [None]
        finally:
            loud.close()
            client.acl_deluser("loud")


def test_connections_that_were_lost_do_not_count_for_ever(outcomes: Outcomes) -> None:
    """Found by the torture: redis-py's pool made no more than a hundred in a process's life."""
    instruction = an_instruction()
    outcomes.note([(instruction, b"{}")])

    for _ in range(150):
        outcomes.close()

        assert known(outcomes, instruction).status == "queued"

"""Outcomes are counted as they come; what was there at the first look tells no speed."""

import pytest
import redis

from bench.watched import Watched
from ops.errors import OperatorError


@pytest.fixture
def database(services):
    """One of Redis's databases, which nobody else uses."""
    url = services.redis_url.removesuffix("/0") + "/2"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url, client
        client.flushdb()


def test_what_had_all_come_by_the_first_look_has_no_speed(database):
    url, client = database
    client.mset({"one": 1, "two": 2})
    watched = Watched(url)

    with pytest.raises(OperatorError, match="All 2 outcomes had come by the first look"):
        watched.per_s(2)
    watched.close()


def test_waiting_for_what_has_all_come_returns_at_once(database):
    url, client = database
    client.mset({"one": 1, "two": 2})
    watched = Watched(url)

    watched.wait(2)

    assert watched.count() == 2
    watched.close()


def test_the_speed_counts_from_the_first_look(database, monkeypatch):
    url, _ = database
    watched = Watched(url)
    looks, clock = iter([0, 3, 3, 11]), iter([10.0, 14.0])
    monkeypatch.setattr(watched, "count", lambda: next(looks))
    monkeypatch.setattr("bench.watched.time.perf_counter", lambda: next(clock))

    assert watched.per_s(11) == 2.0
    watched.close()

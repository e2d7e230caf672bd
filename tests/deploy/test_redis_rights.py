"""Each user of the deployed Redis may do what its process needs, and nothing else.

That it may do enough is shown by the processes themselves, which run as these users.
"""

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from tests.deploy.deployed import Deployed

_NOBODY = [
    "FLUSHALL",
    "FLUSHDB",
    "KEYS *",
    "SCAN 0",
    "CONFIG GET requirepass",
    "ACL LIST",
    "SHUTDOWN NOSAVE",
    "SAVE",
    "MONITOR",
    "CLIENT LIST",
    "DEL i:1",
    "EVAL return(1) 0",
    "GET other:1",
    "SET other:1 x",
]

_REFUSED = {
    "tekana_api": [*_NOBODY, "PUBLISH tekana:decided x"],
    "tekana_ledger": [*_NOBODY, "SUBSCRIBE tekana:decided", "PUBLISH other x"],
    "tekana_inbox": [*_NOBODY, "SUBSCRIBE tekana:decided", "PUBLISH tekana:decided x"],
    "health": [*_NOBODY, "GET i:1", "SUBSCRIBE tekana:decided"],
}


@pytest.mark.parametrize(
    ("user", "command"), [(user, each) for user in _REFUSED for each in _REFUSED[user]]
)
def test_it_is_refused(deployed: Deployed, user: str, command: str) -> None:
    with connected(deployed, user) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command.split())


def test_nobody_comes_in_without_a_name(deployed: Deployed) -> None:
    port = deployed.redis.port("redis")
    with redis.Redis(port=port, protocol=2) as client, pytest.raises(AuthenticationError):
        client.ping()
    with (
        redis.Redis(port=port, username="default", password="x", protocol=2) as client,
        pytest.raises((AuthenticationError, ResponseError)),
    ):
        client.ping()


def connected(deployed: Deployed, user: str) -> redis.Redis:
    """A connection with the password of a user's process."""
    name = f"{user.removeprefix('tekana_').upper()}_PASSWORD"
    return redis.Redis(
        port=deployed.redis.port("redis"),
        username=user,
        password=deployed.secrets.get(name, "none"),
        protocol=2,
        driver_info=None,
    )

"""Each user of the deployed RabbitMQ may do what its process needs, and little else.

That it may do enough is shown by the processes themselves, which run as these users.
"""

import json
from collections.abc import Callable
from typing import Any

import amqp
import pytest

from config import broker
from ops.stack import rabbitmq as development
from tests.deploy.deployed import Deployed
from tests.deploy.stores import DEPLOY
from tests.support import wait_until

_P = broker.partition_queue(0).name
_X = broker.LEDGER_EXCHANGE
_C, _E = broker.CALLBACKS_EXCHANGE, broker.CALLBACK_EVENTS

_REFUSED: dict[str, dict[str, Callable[[Any], object]]] = {
    "tekana_api": {
        "publish past the exchanges": lambda on: _publish(on, "", _P),
        "tell workers what to do": lambda on: _publish(on, "celery.pidbox", ""),
        "tell callback workers where to look": lambda on: _publish(on, _C, _E),
        "make up events": lambda on: _publish(on, "celeryev", "task.received"),
        "listen to events": lambda on: on.queue_bind(_P, "celeryev", "#"),
        "make queues of its own": lambda on: on.queue_declare("mine"),
    },
    "tekana_ledger": {
        "publish instructions": lambda on: _publish(on, _X, "0"),
        "publish past the exchanges": lambda on: _publish(on, "", _P),
        "remove a partition": lambda on: on.queue_delete(_P),
        "empty the dead": lambda on: on.queue_purge(broker.DEAD_QUEUE),
        "unbind a partition": lambda on: on.queue_unbind(_P, _X, "0"),
        "make queues of its own": lambda on: on.queue_declare("celery"),
        "tell other workers what to do": lambda on: _publish(on, "celery.pidbox", ""),
        "read where callback workers look": lambda on: on.basic_get(_E),
    },
    "tekana_inbox": {
        "publish past the exchanges": lambda on: _publish(on, "", _P),
        "publish for a partner": lambda on: _publish(on, "in.acme", ""),
        "read instructions": lambda on: on.basic_get(_P),
        "read what partners are told": lambda on: on.basic_get("out.acme"),
        "remove an inbox": lambda on: on.queue_delete("in.acme"),
        "empty an inbox": lambda on: on.queue_purge("out.acme"),
        "make queues of its own": lambda on: on.queue_declare("in.mine"),
        "tell callback workers where to look": lambda on: _publish(on, _C, _E),
        "tell other workers what to do": lambda on: _publish(on, "celery.pidbox", ""),
    },
    "tekana_callbacks": {
        "publish instructions": lambda on: _publish(on, _X, "0"),
        "publish past the exchanges": lambda on: _publish(on, "", _P),
        "read instructions": lambda on: on.basic_get(_P),
        "remove a queue of its own": lambda on: on.queue_delete(_E),
        "make queues of its own": lambda on: on.queue_declare("celery"),
        "tell other workers what to do": lambda on: _publish(on, "celery.pidbox", ""),
    },
    "tekana_beat": {
        "publish instructions": lambda on: _publish(on, _X, "0"),
        "publish past the exchanges": lambda on: _publish(on, "", _P),
        "publish to partners": lambda on: _publish(on, broker.OUTBOX_EXCHANGE, "acme"),
        "read anything": lambda on: on.basic_get(_E),
        "make queues of its own": lambda on: on.queue_declare("celery"),
        "tell workers what to do": lambda on: _publish(on, "celery.pidbox", ""),
    },
    "tekana_flower": {
        "publish instructions": lambda on: _publish(on, _X, "0"),
        "read instructions": lambda on: on.basic_get(_P),
        "remove a partition": lambda on: on.queue_delete(_P),
        "make up events": lambda on: _publish(on, "celeryev", "task.received"),
    },
    "tekana_operator": {
        "publish past the exchanges": lambda on: _publish(on, "", _P),
        "tell workers what to do": lambda on: _publish(on, "celery.pidbox", ""),
    },
    "tekana_provisioner": {
        "publish past the exchanges": lambda on: _publish(on, "", _P),
        "publish instructions": lambda on: _publish(on, _X, "0"),
        "read instructions": lambda on: on.basic_get(_P),
        "read what partners are told": lambda on: on.basic_get("out.acme"),
        "remove a partition": lambda on: on.queue_delete(_P),
        "make queues of its own": lambda on: on.queue_declare("mine"),
    },
    "tekana_owner": {
        "publish past the exchanges": lambda on: _publish(on, "", _P),
        "make queues of its own": lambda on: on.queue_declare("mine"),
    },
}


@pytest.mark.parametrize(
    ("user", "what"), [(user, what) for user in _REFUSED for what in _REFUSED[user]]
)
def test_it_is_refused(deployed: Deployed, user: str, what: str) -> None:
    connection = connected(deployed, user)
    channel = connection.channel()

    with pytest.raises(amqp.AccessRefused):
        _REFUSED[user][what](channel)

    connection.collect()


def test_there_is_no_guest_and_only_the_users_of_the_deployment(deployed: Deployed) -> None:
    listed = json.loads(deployed.rabbitmq.ctl("list_users", "--formatter", "json"))

    tags = {user["user"]: user["tags"] for user in listed}
    assert tags == {name: [] for name in _REFUSED} | {
        "tekana_operator": ["monitoring"],
        # Who makes users must be able to do everything: only `provisioner` has its password.
        "tekana_provisioner": ["administrator"],
    }
    with pytest.raises(amqp.AccessRefused):
        deployed.rabbitmq.connect("guest", "guest")
    vhosts = json.loads(deployed.rabbitmq.ctl("list_vhosts", "--formatter", "json"))
    assert vhosts == [{"name": "tekana"}]


def test_a_user_whose_connections_leak_cannot_take_them_all(deployed: Deployed) -> None:
    for user, most in (("tekana_flower", 10), ("tekana_api", 100)):
        limits = deployed.rabbitmq.ctl("list_user_limits", "--user", user)
        assert f'{{"max-connections":{most}}}' in limits


def test_a_partition_takes_so_much_and_then_says_no(deployed: Deployed) -> None:
    listing = ["list_queues", "-p", "tekana", "name", "policy", "--formatter", "json"]

    def policies() -> dict[str, str]:
        listed = json.loads(deployed.rabbitmq.ctl(*listing))
        return {queue["name"]: queue["policy"] for queue in listed}

    partitions = {broker.partition_queue(number).name for number in range(8)}
    # A worker's own queue for what Flower asks of it comes and goes.
    wait_until(lambda: partitions <= policies().keys())
    assert {name for name, policy in policies().items() if policy} == partitions
    assert broker.partition_queue(0).arguments["x-overflow"] == "reject-publish"


def test_what_is_set_for_development_too_agrees() -> None:
    settings = (DEPLOY / "rabbitmq" / "rabbitmq.conf").read_text().splitlines()
    for name in ("max_message_size", "vm_memory_high_watermark.absolute", "raft.wal_max_size"):
        [line] = [line for line in settings if line.startswith(name)]
        assert line in development._SETTINGS.splitlines()
    plugins = (DEPLOY / "rabbitmq" / "enabled_plugins").read_text()
    assert plugins == development._PLUGINS
    services = (DEPLOY / "services.compose.yml").read_text()
    assert "-rabbit max_message_size 131072" in services


def connected(deployed: Deployed, user: str) -> amqp.Connection:
    """An open connection with the password of a user's process."""
    password = deployed.secrets[f"{user.removeprefix('tekana_').upper()}_PASSWORD"]
    return deployed.rabbitmq.connect(user, password)


def _publish(channel: Any, exchange: str, key: str) -> None:
    # With confirms, so that the refusal has come when this returns.
    channel.confirm_select()
    channel.basic_publish_confirm(amqp.Message("{}"), exchange, key)

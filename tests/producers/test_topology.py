"""What `config.broker` describes is what the broker has."""

import uuid
from collections.abc import Iterator

import pytest

from config import broker
from ops.stack.services import Services
from producers import topology
from tests.producers.place import channel_to


@pytest.fixture
def host_url(services: Services) -> Iterator[str]:
    """A virtual host of the test's own, since the names in it are fixed."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    services.rabbitmq.ctl("add_vhost", name)
    services.rabbitmq.ctl("set_permissions", "-p", name, "tekana", ".*", ".*", ".*")
    yield services.broker_url.rsplit("/", 1)[0] + "/" + name
    services.rabbitmq.ctl("delete_vhost", name)


def test_declaring_is_idempotent_and_each_partition_has_its_queue(host_url: str) -> None:
    topology.declare(host_url, 3)
    topology.declare(host_url, 3)

    with channel_to(host_url) as channel:
        for queue in broker.queues(3):
            assert channel.queue_declare(queue.name, passive=True).queue == queue.name


def test_a_queue_that_exists_with_other_properties_is_named(host_url: str) -> None:
    with channel_to(host_url) as channel:
        channel.queue_declare(broker.partition_queue(1).name, durable=True, auto_delete=False)

    with pytest.raises(topology.TopologyMismatch, match=broker.partition_queue(1).name):
        topology.declare(host_url, 3)

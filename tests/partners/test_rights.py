"""What a partner's user may do at the broker, by trying: its own work, and nothing else."""

import base64
import http.client
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest
from pika.exceptions import AMQPError, ChannelClosedByBroker

from config import broker
from ops.broker_admin import BrokerAdmin
from ops.partners import USER_LIMITS, Asked, Provisioning
from ops.stack.services import Services
from producers import topology
from storage.engine import operator_engine
from tests.partners.client import channel_of, connect, publish
from tests.support import fresh_database, wait_until

_PARTITION = broker.partition_queue(0).name
_REFUSED = 403
_MOST_BYTES = 128 * 1024


@dataclass(frozen=True)
class Place:
    """A virtual host with all that a system has, and two partners."""

    operator_url: str
    acme: str
    other: str

    def count(self, queue: str) -> int:
        """How many messages wait."""
        with channel_of(self.operator_url) as channel:
            waiting: int = channel.queue_declare(queue, passive=True).method.message_count
            return waiting


@pytest.fixture(scope="module")
def place(services: Services) -> Iterator[Place]:
    host = f"test-{uuid.uuid4().hex[:8]}"
    services.rabbitmq.ctl("add_vhost", host)
    services.rabbitmq.ctl("set_permissions", "-p", host, "tekana", ".*", ".*", ".*")
    url = services.broker_url.rsplit("/", 1)[0] + "/" + host
    settings = fresh_database(
        services, broker_url=url, broker_admin_url=services.rabbitmq.management_url
    )
    topology.declare(url, settings.partitions)
    engine = operator_engine(settings)
    provisioning = Provisioning(settings, engine)
    urls = {}
    for name in ("acme", "other"):
        # Users are the whole broker's, and another test may have left one of this name.
        BrokerAdmin(services.rabbitmq.management_url, host).delete_user(broker.partner_user(name))
        asked = Asked(name, scopes=["deposits:write"])
        urls[name] = provisioning.add(asked, who="test", reason="test").broker_url or ""
    yield Place(url, **urls)
    for name in urls:
        services.rabbitmq.ctl("delete_user", broker.partner_user(name))
    engine.dispose()
    services.rabbitmq.ctl("delete_vhost", host)


_FORBIDDEN: dict[str, Callable[[Any], object]] = {
    "declare a queue": lambda on: on.queue_declare("mine"),
    "declare a queue that the broker names": lambda on: on.queue_declare("", exclusive=True),
    "declare its inbox otherwise": lambda on: on.queue_declare("in.acme", durable=True),
    "declare an exchange": lambda on: on.exchange_declare("mine"),
    "declare its exchange otherwise": lambda on: on.exchange_declare("in.acme", "topic"),
    "bind its outbox to the ledger": lambda on: on.queue_bind("out.acme", "tekana.ledger", "0"),
    "bind its inbox to all outcomes": lambda on: on.queue_bind("in.acme", "tekana.out", "other"),
    "bind its inbox to another's": lambda on: on.queue_bind("in.acme", "in.other", ""),
    "bind its exchange to the ledger": lambda on: on.exchange_bind("in.acme", "tekana.ledger", "0"),
    "bind the ledger to its exchange": lambda on: on.exchange_bind("tekana.ledger", "in.acme", "0"),
    "unbind its inbox": lambda on: on.queue_unbind("in.acme", "in.acme", ""),
    "unbind another's outbox": lambda on: on.queue_unbind("out.other", "tekana.out", "other"),
    "delete its inbox": lambda on: on.queue_delete("in.acme"),
    "delete its outbox": lambda on: on.queue_delete("out.acme"),
    "delete another's outbox": lambda on: on.queue_delete("out.other"),
    "delete a partition": lambda on: on.queue_delete(_PARTITION),
    "delete its exchange": lambda on: on.exchange_delete("in.acme"),
    "delete the ledger's exchange": lambda on: on.exchange_delete("tekana.ledger"),
    "purge its inbox": lambda on: on.queue_purge("in.acme"),
    "purge another's inbox": lambda on: on.queue_purge("in.other"),
    "purge another's outbox": lambda on: on.queue_purge("out.other"),
    "purge a partition": lambda on: on.queue_purge(_PARTITION),
    "publish past all exchanges": lambda on: publish(on, "", _PARTITION),
    "publish to its inbox past its exchange": lambda on: publish(on, "", "in.acme"),
    "publish events to itself": lambda on: publish(on, "", "out.acme"),
    "publish events to another": lambda on: publish(on, "tekana.out", "other"),
    "publish for another": lambda on: publish(on, "in.other"),
    "publish to the ledger": lambda on: publish(on, "tekana.ledger", "0"),
    "publish to the dead": lambda on: publish(on, "tekana.dead"),
    "publish to callbacks": lambda on: publish(on, broker.CALLBACKS_EXCHANGE, "x"),
    "publish to amq.direct": lambda on: publish(on, "amq.direct", _PARTITION),
    "publish to amq.topic": lambda on: publish(on, "amq.topic", "x"),
    "publish to amq.fanout": lambda on: publish(on, "amq.fanout"),
    "publish to what is not there": lambda on: publish(on, "in.acme2"),
    "get from a partition": lambda on: on.basic_get(_PARTITION),
    "get from its inbox": lambda on: on.basic_get("in.acme"),
    "get from another's inbox": lambda on: on.basic_get("in.other"),
    "get from another's outbox": lambda on: on.basic_get("out.other"),
    "get from the dead": lambda on: on.basic_get(broker.DEAD_QUEUE),
    "consume a partition": lambda on: on.basic_consume(_PARTITION, print),
    "consume its inbox": lambda on: on.basic_consume("in.acme", print),
    "consume another's outbox": lambda on: on.basic_consume("out.other", print),
    "consume with a name that only begins right": lambda on: on.basic_get("out.acme.x"),
    "consume with a name that only ends right": lambda on: on.basic_get("xout.acme"),
    "consume with another letter for the dot": lambda on: on.basic_get("out-acme"),
}


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_a_partner_is_refused(place: Place, what: str) -> None:
    with channel_of(place.acme) as channel:
        with pytest.raises(ChannelClosedByBroker) as refusal:
            _FORBIDDEN[what](channel)
        assert refusal.value.reply_code == _REFUSED, refusal.value

        # On the same connection, its own work goes on.
        again = channel.connection.channel()
        again.confirm_delivery()
        works_as(again, place, "acme")


@pytest.mark.parametrize("key", ["", "deposit", "#", "ledger.p000", "any.thing at all"])
def test_whatever_the_routing_key_a_message_arrives_in_the_inbox_alone(
    place: Place, key: str
) -> None:
    before = place.count("in.acme"), place.count("in.other"), place.count(_PARTITION)

    with channel_of(place.acme) as channel:
        # Copies that its headers ask for are the sender's own affair.
        publish(channel, "in.acme", key, headers={"CC": [_PARTITION], "BCC": ["in.other"]})

    arrived = place.count("in.acme"), place.count("in.other"), place.count(_PARTITION)
    assert arrived == (before[0] + 1, before[1], before[2])


def test_several_readers_of_an_outbox_and_single_gets_are_fine(place: Place) -> None:
    with channel_of(place.operator_url) as ours:
        for number in range(3):
            publish(ours, "tekana.out", "acme", str(number).encode())

    with channel_of(place.acme) as first, channel_of(place.acme) as second:
        first.basic_qos(prefetch_count=1)
        method, _, body = next(first.consume("out.acme", inactivity_timeout=10))
        assert body == b"0"
        assert second.basic_get("out.acme", auto_ack=True)[2] == b"1"
        # As good as reading all of it.
        assert second.queue_purge("out.acme").method.message_count == 1
        first.basic_ack(method.delivery_tag)
        first.cancel()
    assert place.count("out.acme") == 0


@pytest.mark.parametrize("host", ["%2F", "tekana", "nowhere"])
def test_no_other_virtual_host_lets_a_partner_in(place: Place, host: str) -> None:
    with pytest.raises(AMQPError):
        connect(f"{place.acme.rsplit('/', 1)[0]}/{host}")


@pytest.mark.parametrize("password", ["", "guess"])
def test_a_name_without_its_password_is_nobody(place: Place, password: str) -> None:
    address = place.acme.rpartition("@")[2]

    with pytest.raises(AMQPError):
        connect(f"amqp://{broker.partner_user('acme')}:{password}@{address}")


def test_the_management_api_is_closed_to_a_partner(services: Services, place: Place) -> None:
    parts = urlsplit(place.acme)
    token = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    address = http.client.HTTPConnection(
        "127.0.0.1", services.rabbitmq.port("management"), timeout=10
    )

    for path in ("/api/overview", "/api/queues", "/api/users", "/api/whoami"):
        address.request("GET", path, headers={"Authorization": f"Basic {token}"})
        answer = address.getresponse()
        answer.read()
        assert answer.status == http.client.UNAUTHORIZED, path
    address.close()


def test_a_partner_opens_so_many_connections_and_no_more(place: Place) -> None:
    most = USER_LIMITS["max-connections"]
    # Those of the test before may not be counted out yet.
    opened = wait_until(lambda: _open_all(place.other, most), what="connections")
    try:
        with pytest.raises(AMQPError, match="connection limit"):
            connect(place.other)
        with channel_of(place.acme) as channel:
            works_as(channel, place, "acme")
        works_as(_confirming(opened[0]), place, "other")
    finally:
        for connection in opened:
            connection.close()

    wait_until(lambda: _open_all(place.other, 1, close=True))


def test_a_partner_opens_so_many_channels_and_no_more(place: Place) -> None:
    most = USER_LIMITS["max-channels"]
    connection = wait_until(lambda: _with_channels(place.other, most), what="channels")

    with pytest.raises(AMQPError, match="number of channels opened"):
        connection.channel()

    with channel_of(place.acme) as channel:
        works_as(channel, place, "acme")


def test_a_message_is_128_kib_at_most(place: Place) -> None:
    before = place.count("in.acme")
    with channel_of(place.acme) as channel:
        publish(channel, "in.acme", body=b" " * _MOST_BYTES)
        with pytest.raises(ChannelClosedByBroker, match="larger than") as refusal:
            publish(channel, "in.acme", body=b" " * (_MOST_BYTES + 1))
        assert refusal.value.reply_code == 406

    assert place.count("in.acme") == before + 1


def test_a_partner_cannot_sign_with_the_name_of_another(place: Place) -> None:
    before = place.count("in.acme")
    with channel_of(place.acme) as channel:
        publish(channel, "in.acme", user_id=broker.partner_user("acme"))
    for forged in (broker.partner_user("other"), "tekana", "guest"):
        with channel_of(place.acme) as channel:
            with pytest.raises(ChannelClosedByBroker, match="user_id") as refusal:
                publish(channel, "in.acme", user_id=forged)
            assert refusal.value.reply_code == 406

    assert place.count("in.acme") == before + 1


def works_as(channel: Any, place: Place, name: str) -> None:
    """It publishes, which is confirmed; and it reads what was sent to it."""
    publish(channel, f"in.{name}")
    with channel_of(place.operator_url) as ours:
        publish(ours, "tekana.out", name, b"news")
    assert wait_until(lambda: channel.basic_get(f"out.{name}", auto_ack=True)[2]) == b"news"


def _confirming(connection: pika.BlockingConnection) -> Any:
    channel = connection.channel()
    channel.confirm_delivery()
    return channel


def _open_all(url: str, count: int, *, close: bool = False) -> list[pika.BlockingConnection]:
    """So many connections, or none while the broker refuses one of them."""
    opened: list[pika.BlockingConnection] = []
    try:
        while len(opened) < count:
            opened.append(connect(url))
    except AMQPError:
        close = True
    if close:
        for connection in opened:
            connection.close()
    return opened if len(opened) == count else []


def _with_channels(url: str, count: int) -> pika.BlockingConnection | None:
    """A connection with so many channels, or none while the broker refuses one of them."""
    connection = connect(url)
    try:
        for _ in range(count):
            connection.channel()
    except AMQPError:
        with suppress(AMQPError):
            connection.close()
        return None
    return connection

"""A partner at the broker, and nobody behind its inbox but the test."""

import json
import uuid
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from config.broker import inbox_exchange, inbox_queue, outbox_queue, partner_user
from ops.broker_admin import BrokerAdmin
from ops.partners import user_rights
from ops.stack.services import Services
from tests.partners.client import channel_of, publish


class Acme:
    """A partner at the broker, and nobody who reads its inbox but the test."""

    def __init__(self, services: Services, inbox_messages: int = 100_000) -> None:
        self.name = f"acme-{uuid.uuid4().hex[:8]}"
        self.admin = BrokerAdmin(services.rabbitmq.management_url, "tekana")
        self._own = services.broker_url
        self.admin.declare_exchange(inbox_exchange(self.name), "fanout")
        self.declare_inbox(inbox_messages)
        with channel_of(self._own) as channel:
            channel.queue_declare(
                outbox_queue(self.name).name,
                durable=True,
                arguments=outbox_queue(self.name).arguments,
            )
        user = partner_user(self.name)
        self.admin.make_user(user)
        self.admin.set_password(user, "secret")
        self.admin.give_rights(user, user_rights(self.name))
        self.url = self.url_by(urlsplit(services.broker_url).port or 0)

    def declare_inbox(self, messages: int = 100_000) -> None:
        inbox = inbox_queue(self.name)
        arguments = inbox.arguments | {"x-max-length": messages}
        del arguments["x-single-active-consumer"]  # With it there is no `basic.get`.
        self.admin.declare_queue(replace(inbox, arguments=arguments))

    def url_by(self, port: int, password: str = "secret") -> str:
        return f"amqp://{partner_user(self.name)}:{password}@127.0.0.1:{port}/tekana"

    def tell(self, *ids: str) -> None:
        """Put events with these ids into its queue."""
        with channel_of(self._own) as channel:
            for each in ids:
                event = {"version": 1, "id": each, "type": "entry.posted", "timestamp": "now"}
                body = json.dumps({**event, "data": {"seq": 1}}).encode()
                publish(channel, "", outbox_queue(self.name).name, body)

    def left(self) -> int:
        """How many events are in its queue, those in a consumer's hand not counted."""
        with channel_of(self._own) as channel:
            declared = channel.queue_declare(outbox_queue(self.name).name, passive=True)
            return int(declared.method.message_count)

    def taken(self) -> list[tuple[Any, dict[str, Any]]]:
        """Properties and document of all that is in the inbox, in order; takes them out."""
        found: list[tuple[Any, dict[str, Any]]] = []
        with channel_of(self._own) as channel:
            while True:
                method, properties, body = channel.basic_get(f"in.{self.name}", auto_ack=True)
                if method is None:
                    return found
                found.append((properties, json.loads(body)))

    def keys(self) -> list[str]:
        return [document["idempotency_key"] for _, document in self.taken()]

    def remove(self) -> None:
        self.admin.delete_user(partner_user(self.name))
        self.admin.delete("exchanges", inbox_exchange(self.name))
        self.admin.delete("queues", inbox_queue(self.name).name)
        self.admin.delete("queues", outbox_queue(self.name).name)

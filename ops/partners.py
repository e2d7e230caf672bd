"""Provisioning of partners: a client in Postgres, and a user with an in- and an outbox.

Every step is safe to repeat, so that a command that was cut off is run again. Nothing that
exists is changed without being asked for: what differs from what is wanted is an OperatorError.
"""

import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from sqlalchemy import Engine

from config.broker import inbox_exchange, inbox_queue, outbox_queue, partner_user
from config.settings import Settings
from ops.broker_admin import BrokerAdmin
from ops.errors import OperatorError
from ops.queues import BrokerAway, Depth, depths_of
from storage import audit, clients, partners

USER_LIMITS: Final = {"max-connections": 10, "max-channels": 50}
"""Enough for several processes of a partner; each connection and channel is memory of ours."""

_PATIENCE_S: Final = 60.0
_WORKER_NOTICES_S: Final = 15.0

_CLOSING_S: Final = 5.0
"""For connections to end. A client that doesn't answer is listed for 30 s; nothing is taken from
it any more."""

_STATISTICS_LAG_S: Final = 11.0
"""Every 5 s a queue tells how long it is, and every 5 s the management API looks at that."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a partner is to be. Without scopes: a client that exists, as it is."""

    name: str
    scopes: Collection[str] = ()
    grants: Collection[str] = ()
    floors_minor: Mapping[str, int] = field(default_factory=dict)
    rate_per_s: int | None = None
    key_kind: Literal["live", "test"] = "live"


@dataclass(frozen=True, slots=True)
class Issued:
    """Secrets that were made just now and can be shown only now; None: made before."""

    broker_url: str | None = field(repr=False)
    api_key: str | None = field(repr=False)


class Provisioning:
    """The two stores in which a partner is provisioned."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        """Raises: OperatorError if the settings don't say where the broker is administered."""
        if settings.broker_admin_url is None:
            raise OperatorError(
                "TEKANA_BROKER_ADMIN_URL is not set: a partner is a user of the broker.",
                "Set it to http://user:password@host:15672 of RabbitMQ's management API.",
            )
        self._engine = engine
        self._broker_url = settings.broker_url.get_secret_value()
        self._public_url = settings.partner_broker_url or self._broker_url
        self._virtual_host = unquote(urlsplit(self._broker_url).path[1:]) or "/"
        self._admin = BrokerAdmin(settings.broker_admin_url.get_secret_value(), self._virtual_host)

    def add(self, asked: Asked, *, who: str, reason: str) -> Issued:
        """Make a partner, or complete one. Secrets are made last, and only if there are none.

        Raises: OperatorError, ProvisioningError.
        """
        by = {"who": who, "reason": reason}
        with self._engine.begin() as connection:
            partners.ensure_client(
                connection,
                asked.name,
                asked.scopes,
                settlement_floors_minor=asked.floors_minor,
                **by,
            )
            client_id = clients.client_id_of(connection, asked.name)
            granted = partners.granted(connection, client_id)
            for wallet_id in asked.grants:
                if wallet_id not in granted:
                    clients.grant(connection, asked.name, wallet_id, **by)
            partners.add(connection, asked.name, rate_per_s=asked.rate_per_s, **by)
        self._declare(asked.name)
        self._ensure_user(asked.name)
        return self._issue(
            asked.name,
            password=True,
            api_key=True,
            key_kind=asked.key_kind,
            missing_only=True,
            **by,
        )

    def rotate(
        self,
        name: str,
        *,
        password: bool,
        api_key: bool,
        key_kind: Literal["live", "test"],
        who: str,
        reason: str,
    ) -> Issued:
        """Make new secrets. The old password ends; old API keys go on until they are revoked.

        Raises: OperatorError, ProvisioningError.
        """
        if password and self._admin.has_password(partner_user(name)) is None:
            raise OperatorError(
                f"The broker has no user of a partner {name!r}.",
                f"Complete it with ./tekana partner add {name} --reason …",
            )
        return self._issue(
            name, password=password, api_key=api_key, key_kind=key_kind, who=who, reason=reason
        )

    def disconnect(self, name: str) -> None:
        """Close its connections, which it may open again."""
        self._admin.close_connections(partner_user(name))

    def remove(self, name: str, *, force: bool, who: str, reason: str) -> int:
        """End a partner: its user and connections, its inbox and its outbox. The client stays.

        Unless by force, nothing that it published is lost: it is waited for. Returns how many
        messages were thrown away.

        Raises: OperatorError if messages wait in the inbox; ProvisioningError.
        """
        with self._engine.connect() as connection:
            partners.summary(connection, name)
        if not force and (waiting := self._waiting(name)):
            raise OperatorError(
                f"{waiting} messages wait in the inbox of {name!r}. Nothing was changed.",
                "Run it again when they are decided, or with --force to throw them away.",
            )
        # From here on nothing more arrives.
        self._admin.delete_user(partner_user(name))
        _wait(lambda: not self._admin.connections(partner_user(name)), _CLOSING_S)
        if not force:
            self._await_empty_inbox(name)
        with self._engine.begin() as connection:
            partners.remove(connection, name, who=who, reason=reason)
        # The inbox worker now gives back what it has in hand, and can be counted.
        _wait(lambda: not self._depth(name).consumers, _WORKER_NOTICES_S)
        left = self._depth(name)
        if not force and (left.messages or left.consumers):
            raise OperatorError(
                f"{left.messages} messages are left in the inbox of {name!r}, which is kept.",
                "Add it again to have them decided, and remove it again; or remove it again with "
                "--force to throw them away.",
            )
        for kind, thing in (
            ("exchanges", inbox_exchange(name)),
            ("queues", inbox_queue(name).name),
            ("queues", outbox_queue(name).name),
        ):
            self._admin.delete(kind, thing)
        return left.messages

    def _declare(self, name: str) -> None:
        self._admin.declare_exchange(inbox_exchange(name), "fanout")
        self._admin.declare_queue(inbox_queue(name))
        self._admin.declare_queue(outbox_queue(name))

    def _ensure_user(self, name: str) -> None:
        user, wanted = partner_user(name), user_rights(name)
        if self._admin.has_password(user) is None:
            self._admin.make_user(user)
        rights = self._admin.rights(user)
        if not rights:
            self._admin.give_rights(user, wanted)
        elif rights != {self._virtual_host: wanted}:
            raise OperatorError(
                f"The broker's user {user} has other rights than a partner.",
                f"See them with rabbitmqctl list_user_permissions {user}, and decide.",
            )
        there = self._admin.limits(user)
        for limit, value in USER_LIMITS.items():
            if limit not in there:
                self._admin.limit(user, limit, value)

    def _has_key(self, name: str) -> bool:
        now = datetime.now(UTC)
        return any(
            key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
            for key in clients.list_keys(self._engine, name)
        )

    def _issue(
        self,
        name: str,
        *,
        password: bool,
        api_key: bool,
        key_kind: Literal["live", "test"],
        missing_only: bool = False,
        who: str,
        reason: str,
    ) -> Issued:
        """Make secrets in one transaction, so that a broker that fails leaves no key unseen."""
        made_key = made_url = None
        with self._engine.begin() as connection:
            # Of two operators at once, the second finds what the first has made.
            partners.lock(connection, name)
            if missing_only:
                api_key = not self._has_key(name)
                password = not self._admin.has_password(partner_user(name))
            if api_key:
                made_key = clients.add_key(connection, name, kind=key_kind, who=who, reason=reason)
            if password:
                audit.record(connection, who, "partner.password", name, reason)
                made = secrets.token_urlsafe(32)
                self._admin.set_password(partner_user(name), made)
                made_url = self._url_of(partner_user(name), made)
        return Issued(made_url, made_key)

    def _url_of(self, user: str, password: str) -> str:
        public = urlsplit(self._public_url)
        address = public.netloc.rpartition("@")[2]
        return public._replace(netloc=f"{user}:{password}@{address}").geturl()

    def _await_empty_inbox(self, name: str) -> None:
        began_s = time.monotonic()

        def is_empty() -> bool:
            depth = self._depth(name)
            if depth.messages or not depth.consumers:
                return not depth.messages
            # What a consumer has in hand is in the broker's statistics alone.
            fresh = time.monotonic() - began_s > _STATISTICS_LAG_S
            return fresh and not self._admin.unfinished(inbox_queue(name).name)

        if not _wait(is_empty, _PATIENCE_S):
            raise OperatorError(
                f"What {name!r} sent is not decided yet. It can send no more.",
                "See that a worker inbox runs, and run this again; or with --force to throw away "
                "what it sent.",
            )

    def _waiting(self, name: str) -> int:
        return self._depth(name).messages

    def _depth(self, name: str) -> Depth:
        queue = inbox_queue(name).name
        try:
            return depths_of(self._broker_url, [queue]).get(queue, Depth(0, 0))
        except BrokerAway as error:
            raise OperatorError(
                "The broker does not answer.", "Look at TEKANA_BROKER_URL.", detail=str(error)
            ) from None


def user_rights(partner: str) -> dict[str, str]:
    """What a partner's user may do with which names: patterns that match one name, or none."""
    return {
        "configure": "^$",
        "write": f"^{re.escape(inbox_exchange(partner))}$",
        "read": f"^{re.escape(outbox_queue(partner).name)}$",
    }


def _wait(until: Callable[[], bool], patience_s: float) -> bool:
    """Return when it is so, or when patience ends; and whether it is so."""
    deadline = time.monotonic() + patience_s
    while not (so := until()) and time.monotonic() < deadline:
        time.sleep(0.25)
    return so

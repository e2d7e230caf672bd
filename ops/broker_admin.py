"""RabbitMQ's management API, as far as provisioning a partner needs it."""

import base64
import http.client
import json
import ssl
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from config.broker import Queue
from ops.errors import OperatorError

_TIMEOUT_S: Final = 10.0
_REMEDY: Final = (
    "Check TEKANA_BROKER_ADMIN_URL: the address of the management API, and a user with the tag "
    "administrator and rights in the virtual host."
)


class BrokerAdmin:
    """Users, their rights and limits, exchanges and queues of one virtual host.

    Whatever the broker does not do is an OperatorError, which holds no password.
    """

    def __init__(self, url: str, virtual_host: str) -> None:
        """`url`: http(s)://user:password@host:port, with a path where a proxy adds one."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._secure = parts.scheme == "https"
        self._root = f"{parts.path.rstrip('/')}/api"
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        self._virtual_host = virtual_host

    def has_password(self, user: str) -> bool | None:
        """Whether the user can log in with a password; None if there is no such user."""
        found = self._ask("GET", "users", user)
        return None if found is None else bool(found["password_hash"])

    def make_user(self, user: str) -> None:
        """A user who can't log in until a password is set, and has no tags."""
        self._ask("PUT", "users", user, body={"password_hash": "", "tags": ""})

    def set_password(self, user: str, password: str) -> None:
        """Give the user a password in the place of any other; connections stay."""
        self._ask("PUT", "users", user, body={"password": password, "tags": ""})

    def delete_user(self, user: str) -> None:
        """Remove the user, whose connections the broker then closes; nothing if there is none."""
        self._ask("DELETE", "users", user)

    def rights(self, user: str) -> dict[str, dict[str, str]]:
        """By virtual host: what the user may configure, write and read, as patterns."""
        found = self._ask("GET", "users", user, "permissions") or []
        verbs = ("configure", "write", "read")
        return {each["vhost"]: {verb: each[verb] for verb in verbs} for each in found}

    def give_rights(self, user: str, rights: dict[str, str]) -> None:
        """Set what the user may configure, write and read in this virtual host."""
        self._ask("PUT", "permissions", self._virtual_host, user, body=rights)

    def limits(self, user: str) -> dict[str, int]:
        """The user's limits by name, such as `max-connections`."""
        found = self._ask("GET", "user-limits", user) or []
        return {name: value for each in found for name, value in each["value"].items()}

    def limit(self, user: str, name: str, value: int) -> None:
        """Set one of the user's limits."""
        self._ask("PUT", "user-limits", user, name, body={"value": value})

    def connections(self, user: str) -> int:
        """How many connections of the user there are, as far as the broker's statistics know."""
        return len(self._ask("GET", "connections", "username", user) or [])

    def close_connections(self, user: str) -> None:
        """Close every connection of the user."""
        self._ask("DELETE", "connections", "username", user)

    def declare_exchange(self, name: str, kind: str) -> None:
        """Make a durable exchange; one with these properties stays as it is."""
        self._ask(
            *("PUT", "exchanges", self._virtual_host, name),
            body={"type": kind, "durable": True, "auto_delete": False, "arguments": {}},
        )

    def declare_queue(self, queue: Queue) -> None:
        """Make a durable queue and bind it; one with these properties stays as it is."""
        self._ask(
            *("PUT", "queues", self._virtual_host, queue.name),
            body={"durable": True, "auto_delete": False, "arguments": queue.arguments},
        )
        self._ask(
            *("POST", "bindings", self._virtual_host, "e", queue.exchange, "q", queue.name),
            body={"routing_key": queue.routing_key},
        )

    def unfinished(self, queue: str) -> int:
        """Messages in a queue with those that a consumer has in hand, as of some seconds ago."""
        found = self._ask("GET", "queues", self._virtual_host, queue) or {}
        count: int = found.get("messages", 0)
        return count

    def delete(self, kind: str, name: str) -> None:
        """Remove an exchange or a queue (`exchanges`, `queues`); nothing if there is none."""
        self._ask("DELETE", kind, self._virtual_host, name)

    def _ask(self, method: str, *path: str, body: object = None) -> Any:
        """The decoded answer; None if it is empty, or what is asked for or deleted is not there."""
        try:
            status, content = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise OperatorError(
                "The broker's management API does not answer.", _REMEDY, detail=str(error)
            ) from None
        if status == http.client.NOT_FOUND and method in ("GET", "DELETE"):
            return None
        if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
            raise OperatorError(
                f"The broker's management API refuses us ({status}).",
                _REMEDY,
                detail=_reason(content),
            )
        if status >= http.client.BAD_REQUEST:
            raise OperatorError(
                f"The broker refused ({status}): {method} /api/{'/'.join(path)}",
                "What exists is never changed: see what differs there, and decide.",
                detail=_reason(content),
            )
        return json.loads(content) if content else None

    def _exchange(self, method: str, path: tuple[str, ...], body: object) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            connection.request(
                method,
                "/".join([self._root, *(quote(part, safe="") for part in path)]),
                None if body is None else json.dumps(body),
                self._headers,
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=_TIMEOUT_S, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)


def _reason(content: bytes) -> str:
    try:
        said = json.loads(content)
        return str(said.get("reason") or said.get("error") or "")
    except (ValueError, AttributeError):
        return ""

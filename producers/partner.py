"""A partner's side of the queues: instructions out, events in. Copy this file; it needs pika alone.

    with Partner("amqps://partner.acme:…@broker.example/tekana") as partner:
        partner.send("deposit", {"wallet_id": "…", "amount": 250, …}, "invoice-4711")
        for event in partner.events():
            remember(event)

What `send` took is sent again, under the same key, until the broker has it: safe, because a key
has one outcome for ever. An event stays in the queue until the loop asks for the next one, so
a crash repeats it, and its id tells.
"""

import functools
import itertools
import json
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pika
from pika.adapters.select_connection import IOLoop

BODY_BYTES_MAX: Final = 65_536
"""The largest message that is read; a larger one is refused unread."""

_JSON: Final = "application/json"
_PREFETCH: Final = 100
_REFUSED: Final = "ACCESS_REFUSED"  # pika has several errors for it; all quote the broker.
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0
_GOODBYE_S: Final = 3.0

logger = logging.getLogger("tekana.partner")


class PartnerError(Exception):
    """It was closed, or the broker refuses this user. `unconfirmed` still tells what is left."""


@dataclass
class Event:
    """What became of an instruction, or of a wallet; the contract describes each `type`.

    `id` is the same on every repeat, `timestamp` is RFC 3339 text in UTC.
    """

    id: str
    type: str
    timestamp: str
    data: dict[str, Any] = field(repr=False)
    _take: Callable[[], None] | None = field(repr=False, compare=False)

    def done(self) -> None:
        """Take it off the queue now. Needed only before a `break`: asking for the next does it."""
        if self._take is not None:
            self._take()
            self._take = None


@dataclass(order=True, slots=True)
class _Message:
    """One instruction on its way; the number keeps the order across repeats."""

    number: int
    key: str
    body: bytes
    returned: bool = False


class Partner:
    """One partner's connection, for any number of threads. It reconnects until `close`.

    A thread of its own talks to the broker, so heartbeats go on while the caller thinks. Beyond
    `unconfirmed_most` instructions `send` waits. Nothing waits for longer than `patience_s`.
    """

    def __init__(
        self, broker_url: str, *, unconfirmed_most: int = 500, patience_s: float = 60.0
    ) -> None:
        """`broker_url` is the one that came with the partner: amqps://partner.acme:…@host/vhost."""
        self._parameters = pika.URLParameters(broker_url)
        self._name = self._parameters.credentials.username.removeprefix("partner.")
        self._parameters.heartbeat = self._parameters.heartbeat or 20
        self._parameters.socket_timeout = 5
        self._parameters.stack_timeout = 10
        self._parameters.client_properties = {"connection_name": f"partner kit of {self._name}"}
        self._most = unconfirmed_most
        self._patience_s = patience_s
        # The callers' threads and ours share these, under this lock.
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._waiting: deque[_Message] = deque()
        self._unconfirmed: dict[int, _Message] = {}  # By delivery tag, oldest first.
        self._received: deque[tuple[Any, int, bytes]] = deque()  # Channel, tag and body.
        self._receiving: Any = None
        self._failure: str | None = None
        # These are our thread's own; only `_ask` is for others.
        self._loop = IOLoop()
        self._ask = self._loop.add_callback_threadsafe
        self._connection: Any = None
        self._sending: Any = None
        self._tags = itertools.count(1)
        self._wants_events = self._holding = self._closing = False
        self._pause_s = _FIRST_PAUSE_S
        self._thread = threading.Thread(target=self._run, name="partner kit", daemon=True)
        self._thread.start()

    def send(self, type: str, data: Mapping[str, Any], idempotency_key: str) -> None:  # noqa: A002
        """Give an instruction, in the order of the calls. Returns at once unless there is no room.

        `flush` waits for the broker's word; the receipt and the outcome are events.
        Raises: ValueError if the key is not 1 to 255 visible ASCII characters or the message is
        too large; TimeoutError, and then nothing was taken; PartnerError.
        """
        if not (0 < len(idempotency_key) <= 255 and all("!" <= c <= "~" for c in idempotency_key)):
            raise ValueError("an idempotency key has 1 to 255 visible ASCII characters")
        said = {"version": 1, "idempotency_key": idempotency_key, "type": type, "data": dict(data)}
        body = json.dumps(said, ensure_ascii=False, allow_nan=False).encode()
        if len(body) > BODY_BYTES_MAX:
            raise ValueError(f"a message has at most {BODY_BYTES_MAX} bytes; this has {len(body)}")
        with self._changed:
            self._await(self._has_room, self._patience_s, "no room to send")
            idle = not self._waiting
            self._waiting.append(_Message(next(self._numbers), idempotency_key, body))
        if idle:
            self._ask(self._pump)

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait until the broker has all that was sent; for `patience_s` if no time is given.

        Raises: TimeoutError, though sending goes on; PartnerError.
        """
        patience_s = self._patience_s if timeout_s is None else timeout_s
        with self._changed:
            self._await(lambda: not self._count(), patience_s, "not all is confirmed")

    @property
    def unconfirmed(self) -> list[str]:
        """The keys of what the broker has not confirmed yet, in the order sent."""
        with self._changed:
            return [each.key for each in sorted([*self._unconfirmed.values(), *self._waiting])]

    def events(self, quiet_s: float | None = None) -> Iterator[Event]:
        """Events as they come; ends once none has come for `quiet_s`, by default never.

        An event is taken off the queue when the next one is asked for. One whose step was left
        by `break` or an exception comes again, unless `Event.done` was called.
        Raises: PartnerError.
        """
        self._ask(self._want_events)
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._received or self._failure, quiet_s):
                    return
                if not self._received:
                    raise PartnerError(self._failure)
                channel, tag, body = delivery = self._received.popleft()
            told = json.loads(body)
            take = functools.partial(self._ask, functools.partial(self._take, channel, tag))
            event = Event(told["id"], told["type"], told["timestamp"], told["data"], take)
            try:
                yield event
            except BaseException:
                with self._changed:
                    # What came by an earlier connection comes again by itself.
                    if event._take is not None and channel is self._receiving:
                        self._received.appendleft(delivery)
                raise
            event.done()

    def close(self) -> None:
        """Wait until everything is confirmed, and disconnect. Raises: as `flush` does."""
        try:
            self.flush()
        finally:
            self._hang_up()

    def __enter__(self) -> "Partner":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # If something went wrong already, nobody is made to wait.
        self.close() if kind is None else self._hang_up()

    def _await(self, condition: Callable[[], bool], timeout_s: float | None, what: str) -> None:
        """With the lock held."""
        if not self._changed.wait_for(lambda: condition() or self._failure, timeout_s):
            raise TimeoutError(f"{what} after {timeout_s:g} s")
        if not condition():
            raise PartnerError(self._failure)

    def _has_room(self) -> bool:
        return self._failure is None and self._count() < self._most

    def _count(self) -> int:
        return len(self._waiting) + len(self._unconfirmed)

    def _hang_up(self) -> None:
        self._ask(self._disconnect)
        self._thread.join()
        if left := self._count():
            logger.warning("closed with %d instructions unconfirmed", left)

    # From here on in our thread, to which pika's objects belong.

    def _run(self) -> None:
        self._ask(self._connect)
        while not self._failure:
            try:
                self._loop.start()
                self._fail("it was closed")
            except Exception as error:  # noqa: BLE001  Told to every caller, but for this one:
                # pika raises it, instead of calling back, for a connection reset as it is made.
                if isinstance(error, ValueError) and self._connection and not self._sending:
                    self._on_lost(self._connection, error)
                else:
                    self._fail(f"{type(error).__name__}: {error}")
        self._loop.close()

    def _connect(self) -> None:
        self._connection = pika.SelectConnection(
            self._parameters, self._on_open, self._on_lost, self._on_lost, self._loop
        )

    def _on_open(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._on_sending)
        if self._wants_events:
            connection.channel(on_open_callback=self._on_receiving)

    def _on_sending(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_returned)
        channel.confirm_delivery(self._on_confirm)
        self._sending, self._tags = channel, itertools.count(1)
        self._pump()

    def _want_events(self) -> None:
        if not self._wants_events:
            self._wants_events = True
            if self._connection is not None and self._connection.is_open:
                self._connection.channel(on_open_callback=self._on_receiving)

    def _on_receiving(self, channel: Any) -> None:
        with self._changed:
            self._receiving = channel
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_cancel_callback(lambda _: self._on_channel_closed(channel, "no queue"))
        channel.basic_qos(prefetch_count=_PREFETCH)
        channel.basic_consume(f"out.{self._name}", self._on_delivery)

    def _on_delivery(self, channel: Any, method: Any, _: Any, body: bytes) -> None:
        self._pause_s = _FIRST_PAUSE_S
        with self._changed:
            self._received.append((channel, method.delivery_tag, body))
            self._changed.notify_all()

    def _take(self, channel: Any, tag: int) -> None:
        if channel is self._receiving and channel.is_open:
            channel.basic_ack(tag)

    def _pump(self) -> None:
        """Publish what waits, in order."""
        channel = self._sending
        while channel is not None and channel.is_open and not self._holding:
            with self._changed:
                if not self._waiting:
                    return
                message = self._waiting.popleft()
                self._unconfirmed[next(self._tags)] = message
            about = pika.BasicProperties(_JSON, delivery_mode=2, message_id=message.key)  # On disk.
            channel.basic_publish(f"in.{self._name}", "", message.body, about, mandatory=True)

    def _on_returned(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        """No queue took it; the confirm that follows is no promise."""
        for message in self._unconfirmed.values():
            message.returned |= message.key == properties.message_id

    def _on_confirm(self, frame: Any) -> None:
        last, confirmed = frame.method.delivery_tag, frame.method.NAME == "Basic.Ack"
        with self._changed:
            first = next(iter(self._unconfirmed), last) if frame.method.multiple else last
            tags = [tag for tag in range(first, last + 1) if tag in self._unconfirmed]
            settled = [self._unconfirmed.pop(tag) for tag in tags]
            again = [message for message in settled if message.returned or not confirmed]
            self._take_back(again)
            self._changed.notify_all()
        if not again:
            self._pause_s = _FIRST_PAUSE_S
        elif not self._holding:
            self._holding = True
            logger.warning("the inbox is full or gone; sending goes on in a moment")
            self._loop.call_later(self._next_pause_s(), self._release)

    def _release(self) -> None:
        # All that is on its way is settled first: so the order is kept as far as it can be.
        if self._unconfirmed:
            self._loop.call_later(_FIRST_PAUSE_S, self._release)
        else:
            self._holding = False
            self._pump()

    def _take_back(self, messages: Iterable[_Message]) -> None:
        """Have them sent again, in their old places. With the lock held."""
        if again := [_Message(each.number, each.key, each.body) for each in messages]:
            self._waiting = deque(sorted([*again, *self._waiting]))

    def _on_channel_closed(self, _: Any, reason: Any) -> None:
        if _REFUSED in repr(reason):
            self._fail(str(reason))
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def _on_lost(self, connection: Any, reason: Any) -> None:
        """The connection could not be made, or is no more."""
        if connection is not self._connection:
            return  # It was given up before.
        self._connection = self._sending = None
        with self._changed:
            self._receiving = None
            self._received.clear()
            self._take_back(self._unconfirmed.values())
            self._unconfirmed.clear()
        if _REFUSED in repr(reason):
            self._fail("the broker refuses this user or password")
        if self._closing or self._failure:
            self._loop.stop()
            return
        pause_s = self._next_pause_s()
        logger.warning("not connected, next attempt in %.1f s: %r", pause_s, reason)
        self._loop.call_later(pause_s, self._connect)

    def _next_pause_s(self) -> float:
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, _LONGEST_PAUSE_S)
        return pause_s * random.uniform(0.5, 1.0)  # noqa: S311  Spreads callers, hides nothing.

    def _fail(self, why: str) -> None:
        with self._changed:
            self._failure = self._failure or why
            self._changed.notify_all()

    def _disconnect(self) -> None:
        self._closing = True
        # `_on_lost` ends the loop; the timer does if the broker does not answer, or is away.
        self._loop.call_later(_GOODBYE_S if self._connection else 0, self._loop.stop)
        if self._connection is not None and not self._connection.is_closing:
            self._connection.close()

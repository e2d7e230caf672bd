"""Instructions over HTTP: many at once, each wallet's in order, and their outcomes polled."""

import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ops.demo.http import Api, Stopped
from ops.demo.progress import Steps
from ops.errors import OperatorError

LANES: Final = 6
"""Requests in the air at once."""

BATCH: Final = 250
"""Instructions in one POST of a batch."""

_WAIT_S: Final = 2
_PAUSE_S: Final = 0.1
_PATIENCE_S: Final = 120.0
"""How long one instruction may take to have an outcome once all are sent."""

_PATHS: Final = {
    "customer.open": "/v1/customers",
    "deposit": "/v1/deposits",
    "withdrawal": "/v1/withdrawals",
    "transfer": "/v1/transfers",
}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Order:
    """One instruction to be sent. Orders of one `wallet` are sent in the order given."""

    key: str
    type: str
    data: dict[str, Any]
    wallet: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome of a single post, and how long its caller waited for it."""

    view: dict[str, Any]
    waited_s: float


class Traffic:
    """Sends orders to one API and brings back what became of them."""

    def __init__(self, api: Api, steps: Steps) -> None:
        self._api = api
        self._steps = steps

    def send(self, title: str, orders: Sequence[Order]) -> dict[str, str]:
        """Post in batches; return the instruction's id for each key, once all are accepted.

        Raises: OperatorError if the API refuses one of them.
        """
        ids: dict[str, str] = {}
        with self._steps.step(title, len(orders)) as advance:

            def send_lane(lane: Sequence[Order]) -> None:
                for batch in _batches(lane):
                    # The next batch leaves when this one is accepted: that keeps the order.
                    ids.update(self._post_batch(batch))
                    advance(len(batch))

            self._at_once(send_lane, _lanes(orders))
        return ids

    def send_single(self, title: str, orders: Sequence[Order]) -> dict[str, Answered]:
        """Post one by one, each waiting for its outcome; by key."""
        answered: dict[str, Answered] = {}
        with self._steps.step(title, len(orders)) as advance:

            def send_lane(lane: Sequence[Order]) -> None:
                for order in lane:
                    begun = time.monotonic()
                    view = self._api.post(
                        _PATHS[order.type], order.data, idempotency_key=order.key, wait_s=10
                    )
                    waited_s = time.monotonic() - begun
                    answered[order.key] = Answered(self._outcome(view["id"], view), waited_s)
                    advance()

            self._at_once(send_lane, _lanes(orders))
        return answered

    def outcomes(self, title: str, ids: dict[str, str]) -> dict[str, dict[str, Any]]:
        """Poll until every instruction is decided; the instructions as they are shown, by key.

        Raises: OperatorError if one is parked, or undecided for too long.
        """
        views: dict[str, dict[str, Any]] = {}
        with self._steps.step(title, len(ids)) as advance:

            def poll_lane(lane: Sequence[tuple[str, str]]) -> None:
                for key, instruction_id in lane:
                    views[key] = self._outcome(instruction_id)
                    advance()

            self._at_once(poll_lane, _dealt(list(ids.items())))
        return views

    def read(self, title: str, paths: dict[str, str]) -> dict[str, dict[str, Any] | None]:
        """Read many things, by name; None for what is not there."""
        found: dict[str, dict[str, Any] | None] = {}
        with self._steps.step(title, len(paths)) as advance:

            def read_lane(lane: Sequence[tuple[str, str]]) -> None:
                for name, path in lane:
                    found[name] = self._api.get(path)
                    advance()

            self._at_once(read_lane, _dealt(list(paths.items())))
        return found

    def _post_batch(self, orders: Sequence[Order]) -> dict[str, str]:
        items = [{"idempotency_key": o.key, "type": o.type, "data": o.data} for o in orders]
        answer = self._api.post("/v1/batches", {"items": items})
        for item in answer["items"]:
            if item["status"] == "refused":
                problem = item["problem"]
                raise OperatorError(
                    f"The API refused {item['idempotency_key']}: {problem['code']}.",
                    detail=str(problem.get("errors", "")),
                )
        return {item["idempotency_key"]: item["id"] for item in answer["items"]}

    def _outcome(self, instruction_id: str, view: dict[str, Any] | None = None) -> dict[str, Any]:
        path = f"/v1/instructions/{instruction_id}"
        until, wait_s = time.monotonic() + _PATIENCE_S, 0
        while view is None or view["status"] not in ("succeeded", "rejected"):
            if view is not None and view["status"] == "parked":
                raise OperatorError(
                    f"Instruction {instruction_id} was parked.", "See ./tekana parked list"
                )
            if time.monotonic() > until:
                raise OperatorError(
                    f"Instruction {instruction_id} has had no outcome for {_PATIENCE_S:g} s.",
                    "See ./tekana status and ./tekana partition list",
                )
            # A 404 for what was accepted may be seen while Redis is away: it proves nothing.
            view = self._api.get(path, wait_s=wait_s)
            if view is None:
                time.sleep(_PAUSE_S)
            # Most are decided when they are asked for, and a place to wait is dear.
            wait_s = _WAIT_S
        return view

    def _at_once(self, work: Callable[[_T], None], parts: Sequence[_T]) -> None:
        """Do all parts in threads; the first failure, or Ctrl-C, ends the others."""
        with ThreadPoolExecutor(LANES) as pool:
            futures = [pool.submit(work, part) for part in parts]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                if not all(future.done() for future in futures):
                    self._api.stop()
        # Those that were merely told to stop say so, and are not what went wrong.
        faults = [error for future in futures if (error := future.exception()) is not None]
        for error in sorted(faults, key=lambda error: isinstance(error, Stopped)):
            raise error


def _lanes(orders: Iterable[Order]) -> list[list[Order]]:
    """Orders dealt out so that one wallet's are in one lane, in their order."""
    lanes: list[list[Order]] = [[] for _ in range(LANES)]
    for order in orders:
        lanes[zlib.crc32(order.wallet.encode()) % LANES].append(order)
    return lanes


def _dealt(things: Sequence[_T]) -> list[Sequence[_T]]:
    return [things[lane::LANES] for lane in range(LANES)]


def _batches(orders: Sequence[Order]) -> Iterable[Sequence[Order]]:
    return (orders[at : at + BATCH] for at in range(0, len(orders), BATCH))

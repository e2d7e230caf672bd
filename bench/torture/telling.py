"""The rule about events: everybody who is to be told is told, the same each time."""

from collections.abc import Iterator, Mapping
from typing import Final

from bench.torture.case import Case, Violation
from bench.torture.journal import PARTNER, Listener
from bench.torture.snapshot import Decided, Snapshot
from domain.events import EventType, Shows, instruction_event_id

_OUTCOMES: Final = frozenset({EventType.SUCCEEDED.value, EventType.REJECTED.value})
_RECEIPTS: Final = frozenset({EventType.ACCEPTED.value, EventType.REFUSED.value})


def telling(case: Case) -> Iterator[Violation]:
    """Repeats of an event are equal, no event is invented, and none is missing."""
    yield from _receipts(case)
    digests: dict[tuple[int, str], str] = {}
    heard: dict[Listener, set[str]] = {listener: set() for listener in case.journal.listeners}
    for told in case.journal.told:
        first = digests.setdefault((told.client_id, told.event_id), told.digest)
        if first != told.digest:
            yield Violation("telling", told.event_id, f"{told.channel} told it differently")
        if told.type not in _RECEIPTS:
            heard.setdefault(Listener(told.channel, told.client_id), set()).add(told.event_id)
    expected = {
        client_id: expected_events(case.snapshot, client_id)
        for client_id in {listener.client_id for listener in heard}
    }
    for (channel, client_id), events in heard.items():
        wanted = expected[client_id]
        for event_id in wanted.keys() - events:
            yield Violation("telling", wanted[event_id], f"{channel} never told {event_id}")
        for event_id in events - wanted.keys():
            yield Violation("telling", event_id, f"{channel} told what did not happen")


def _receipts(case: Case) -> Iterator[Violation]:
    """What came in by a partner's queue alone has its receipt before its outcome."""
    accepted: set[str] = set()
    for told in case.journal.told:
        if told.channel != PARTNER:
            continue
        if told.type == EventType.ACCEPTED:
            accepted.add(told.instruction_id)
        elif told.type in _OUTCOMES and told.instruction_id not in accepted:
            doors = {door for body in case.by_id[told.instruction_id] for door in body.doors}
            if doors == {PARTNER}:
                yield Violation("telling", told.instruction_id, "an outcome before its receipt")


def expected_events(snapshot: Snapshot, client_id: int) -> Mapping[str, str]:
    """The instruction by event id, of every event that a client must be told of."""
    readable = {
        wallet.id
        for wallet in snapshot.wallets.values()
        if wallet.customer_id is not None
        and (wallet.client_id == client_id or (client_id, wallet.id) in snapshot.grants)
    }
    return {
        instruction_event_id(client_id, row.stored_id, shows): row.stored_id
        for row in snapshot.decided
        for shows in _shown(row, client_id, readable)
    }


def _shown(row: Decided, client_id: int, readable: set[str]) -> Iterator[Shows]:
    rejected = row.outcome.rejection is not None
    if row.instruction.client_id == client_id:
        yield Shows.REJECTED if rejected else Shows.SUCCEEDED
    if row.outcome.entries:
        if row.source_wallet_id in readable:
            yield Shows.DEBIT
        if row.destination_wallet_id in readable:
            yield Shows.CREDIT

"""Trust nobody: every rule that must hold between what clients were told and what is stored.

Pure: a journal and a snapshot in, violations out. `bench/torture/replay.py` holds the rule
that decides everything again.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from bench.torture.case import Body, Case, Violation
from bench.torture.journal import ACCEPTED, FINAL, REFUSED, Journal, essence_of
from bench.torture.replay import born_of, replay
from bench.torture.snapshot import Decided, Snapshot
from bench.torture.telling import telling
from domain.events import EventType
from domain.rejections import Code
from domain.views import outcome_view

_NAMED_MOST: Final = 20
"""Violations of one rule that are told; one cause breaks a rule thousandfold."""

Rule = Callable[[Case], Iterator[Violation]]


def check(journal: Journal, snapshot: Snapshot) -> list[Violation]:
    """Every broken promise, at most twenty of each rule."""
    case = Case(journal, snapshot)
    found: list[Violation] = []
    for rule in RULES:
        for number, violation in enumerate(rule(case)):
            if number == _NAMED_MOST:
                break
            found.append(violation)
    return found


def lost(case: Case) -> Iterator[Violation]:
    """What was answered with a promise has an outcome."""
    for body in case.bodies.values():
        if ACCEPTED in body.verdicts and body.id not in case.rows:
            yield Violation("lost", body.id, f"accepted at {body.confirmed_at}, never decided")


def doubled(case: Case) -> Iterator[Violation]:
    """One outcome for each id, and the id and fingerprint are those of what is stored."""
    for id_, rows in case.rows.items():
        if len(rows) > 1:
            yield Violation("doubled", id_, f"decided {len(rows)} times")
        for row in rows:
            if row.instruction.id != row.stored_id:
                yield Violation("doubled", id_, f"its key and client name {row.instruction.id}")
            if row.instruction.fingerprint != row.stored_fingerprint:
                yield Violation("doubled", id_, "its fingerprint is not that of its body")


def uninvited(case: Case) -> Iterator[Violation]:
    """What was decided was submitted, by that client and with that body, and not refused."""
    for id_, rows in case.rows.items():
        for row in rows:
            body = case.body_of(row)
            if body is None:
                yield Violation("uninvited", id_, "decided, and nobody ever sent this body")
            elif body.client_id != row.instruction.client_id:
                yield Violation("uninvited", id_, "decided for another client")
            elif not body.may_be_decided:
                yield Violation("uninvited", id_, f"decided, though {sorted(body.verdicts)}")


def turned_away(case: Case) -> Iterator[Violation]:
    """What is well-formed and has its key for itself is never refused."""
    for body in case.bodies.values():
        reasons = {each for each in body.verdicts if each.startswith(REFUSED)}
        if body.sound and reasons and len(case.by_id[body.id]) == 1:
            yield Violation("turned away", body.id, f"sound, and {sorted(reasons)}")
    for told in case.journal.told:
        bodies = case.by_id.get(told.instruction_id, [])
        if told.type == EventType.REFUSED and len(bodies) == 1 and bodies[0].sound:
            yield Violation("turned away", told.instruction_id, f"sound, refused by {told.channel}")


def misanswered(case: Case) -> Iterator[Violation]:
    """No server error but 503, and no process that ends unasked."""
    for answer in case.journal.answered:
        if answer.status >= 500 and answer.status != 503:
            yield Violation("misanswered", f"attempt {answer.attempt}", f"HTTP {answer.status}")
    for name in case.journal.ended_by_themselves:
        yield Violation("misanswered", name, "ended though nothing had asked it to")


def unequal(case: Case) -> Iterator[Violation]:
    """Every channel shows the one outcome that is stored."""
    stored: dict[str, str] = {}
    for seen in case.journal.seen:
        if seen.status not in FINAL:
            continue
        rows = case.rows.get(seen.id)
        if rows is None:
            yield Violation("unequal", seen.id, f"{seen.channel} showed an outcome; none is stored")
            continue
        if seen.status != rows[0].outcome.status:
            found = f"{seen.channel} showed {seen.status}, stored is {rows[0].outcome.status}"
            yield Violation("unequal", seen.id, found)
            continue
        if seen.id not in stored:
            stored[seen.id] = stored_essence(case.snapshot, rows[0])
        if seen.essence and seen.essence != stored[seen.id]:
            found = f"{seen.channel} showed {seen.essence}, stored is {stored[seen.id]}"
            yield Violation("unequal", seen.id, found)


def forgotten(case: Case) -> Iterator[Violation]:
    """A read that is asked after an outcome was seen shows it."""
    known: dict[str, float] = {}
    for seen in case.journal.seen:
        if seen.status in FINAL and seen.at < known.get(seen.id, float("inf")):
            known[seen.id] = seen.at
    for seen in case.journal.seen:
        since = known.get(seen.id)
        if (
            seen.channel == "poll"
            and seen.status not in FINAL
            and since is not None
            and seen.asked_at > since
        ):
            found = f"seen decided at {since:.3f}, and {seen.status} when asked later"
            yield Violation("forgotten", seen.id, found)


def disordered(case: Case) -> Iterator[Violation]:
    """A wallet's instructions are decided in the order in which they were confirmed.

    One has a place behind another if it was sent for the first time after that one had been
    confirmed, through the same door; or if both were first sent in one request, which was
    confirmed, and it stands later in it.
    """
    lines: defaultdict[tuple[str, str], list[tuple[Body, Decided]]] = defaultdict(list)
    for rows in case.rows.values():
        body = case.body_of(rows[0])
        if body is not None:
            for door in body.doors:
                lines[body.order_key, door].append((body, rows[0]))
    for (order_key, door), line in lines.items():
        yield from _disordered_line(order_key, door, line)


def _disordered_line(
    order_key: str, door: str, line: list[tuple[Body, Decided]]
) -> Iterator[Violation]:
    by_first = sorted(line, key=lambda pair: pair[0].first)
    by_confirm = sorted(
        ((body.confirmed_at, body, row) for body, row in line if body.confirmed_at is not None),
        key=lambda each: each[0],
    )
    furthest: tuple[int, str] = (0, "")
    next_confirmed = 0
    before: tuple[Body, Decided] | None = None
    for body, row in by_first:
        while next_confirmed < len(by_confirm) and by_confirm[next_confirmed][0] < body.first[0]:
            _, earlier, earlier_row = by_confirm[next_confirmed]
            furthest = max(furthest, (earlier_row.position, earlier.id))
            next_confirmed += 1
        # Sent through several doors, it may have been decided by way of the quicker one.
        alone = len(body.doors) == 1
        if alone and furthest[0] > row.position:
            found = f"decided at {row.position} before {furthest[1]} at {furthest[0]} ({door})"
            yield Violation("disordered", order_key, f"{body.id} {found}")
        one_breath = before is not None and alone and _in_one_breath(before[0], body)
        if before is not None and one_breath and before[1].position > row.position:
            found = f"{body.id} decided before {before[0].id}, behind which it was sent"
            yield Violation("disordered", order_key, found)
        before = body, row


def _in_one_breath(earlier: Body, later: Body) -> bool:
    """Whether one was sent behind the other in a request, and did not overtake it by another."""
    return (
        earlier.first[1] == later.first[1]
        and earlier.first_confirmed_at is not None
        and later.first_confirmed_at is not None
        and later.again_at > later.first_confirmed_at
    )


def unawaited(case: Case) -> Iterator[Violation]:
    """What was sent after an opening was seen to have succeeded finds what was opened."""
    opened: dict[str, float] = {}
    for seen in case.journal.seen:
        rows = case.rows.get(seen.id)
        if seen.status == "succeeded" and rows and seen.at < opened.get(seen.id, float("inf")):
            opened[seen.id] = seen.at
    births: dict[str, str] = {}
    for row in case.snapshot.decided:
        for name in born_of(row):
            births[name] = row.stored_id
    for row in case.snapshot.decided:
        rejection = row.outcome.rejection
        body = case.body_of(row)
        if rejection is None or rejection.code not in _NOT_FOUND or body is None:
            continue
        birth = births.get(rejection.wallet_id or rejection.customer_id or "")
        since = None if birth is None else opened.get(birth)
        if since is not None and since < body.first[0]:
            found = f"{rejection.code}, though its opening was seen {body.first[0] - since:.3f} s"
            yield Violation("unawaited", row.stored_id, f"{found} before it was sent")


def unproven(case: Case) -> Iterator[Violation]:
    """`verify` finds nothing."""
    for finding in case.snapshot.findings:
        yield Violation("unproven", "verify", finding)


def left_over(case: Case) -> Iterator[Violation]:
    """No message is left in any queue."""
    for queue, count in case.snapshot.queues.items():
        if count:
            yield Violation("left over", queue, f"{count} messages")


def misparked(case: Case) -> Iterator[Violation]:
    """What is no instruction is parked once; what is one is never parked."""
    poison = set(case.journal.poison)
    parked = Counter(digest for digest, _, _ in case.snapshot.parked)
    for digest, id_, reason in case.snapshot.parked:
        if digest not in poison:
            yield Violation("misparked", id_ or digest, f"parked though sound: {reason}")
    for digest in poison:
        if parked[digest] != 1:
            yield Violation("misparked", digest, f"no instruction, parked {parked[digest]} times")


def stored_essence(snapshot: Snapshot, row: Decided) -> str:
    """What a submitter must see of a stored outcome."""
    client_id = row.instruction.client_id

    def may_read(wallet_id: str) -> bool:
        wallet = snapshot.wallets.get(wallet_id)
        if wallet is None or wallet.customer_id is None:
            return False
        return wallet.client_id == client_id or (client_id, wallet_id) in snapshot.grants

    return essence_of(outcome_view(row.instruction, row.outcome, may_read))


def digest_of(body: bytes) -> str:
    """What names a message that is no instruction, in the journal and in the snapshot."""
    return hashlib.sha256(body).hexdigest()


_NOT_FOUND: Final = frozenset(
    {
        Code.CUSTOMER_NOT_FOUND,
        Code.WALLET_NOT_FOUND,
        Code.SOURCE_NOT_FOUND,
        Code.DESTINATION_NOT_FOUND,
    }
)


RULES: Final[tuple[Rule, ...]] = (
    lost,
    doubled,
    uninvited,
    turned_away,
    misanswered,
    unequal,
    forgotten,
    disordered,
    unawaited,
    replay,
    telling,
    unproven,
    left_over,
    misparked,
)
"""Every rule; each has a test in which it alone is broken."""

"""A run that kept every promise, and every way to break one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bench.torture.checker import digest_of
from bench.torture.journal import (
    FEED,
    MISSING,
    UNKNOWN,
    Answered,
    Item,
    Listener,
    Seen,
    Sent,
    Told,
    refused,
)
from domain.identity import partition_of
from tests.bookkeeping import (
    CLIENT,
    OTHER_CLIENT,
    deposit,
    open_customer,
    open_wallet,
    transfer,
    wallet_id,
    withdrawal,
)
from tests.torture.story import PARTITIONS, Story


def names_in(partition: int) -> list[str]:
    names = (f"w{number}" for number in range(200))
    return [n for n in names if partition_of(wallet_id(n), PARTITIONS) == partition][:2]


ALICE, AMY = names_in(0)
BOB, BEN = names_in(1)


def told() -> Story:
    """Customers, wallets, money in, over and out, and some that are rejected."""
    return Story().tell(
        open_customer("k1", "family"),
        open_wallet("k2", ALICE, "family"),
        open_wallet("k3", BOB, "family"),
        open_wallet("k4", ALICE, "family"),
        deposit("k5", ALICE, 100),
        transfer("k6", ALICE, BOB, 60),
        transfer("k7", BOB, ALICE, 10),
        transfer("k8", ALICE, BOB, 51),
        withdrawal("k9", BOB, 20),
        transfer("k10", ALICE, "nobody", 1),
        transfer("k11", ALICE, ALICE, 1),
        deposit("k12", "nobody", 5),
        transfer("k13", ALICE, BOB, 50),
    )


def row_of(story: Story, key: str) -> int:
    return next(
        place
        for place, row in enumerate(story.snapshot.decided)
        if row.instruction.idempotency_key == key
    )


def lose(story: Story) -> None:
    story.send([transfer("lost", ALICE, BOB, 1)])


def double(story: Story) -> None:
    last = story.snapshot.decided[row_of(story, "k13")]
    story.snapshot.decided.append(replace(last, position=last.position + 1))


def misname(story: Story) -> None:
    place = row_of(story, "k13")
    row = story.snapshot.decided[place]
    for body in story.journal.sent:
        if body.items[0].id == row.stored_id:
            other = replace(row, stored_id="another", stored_fingerprint="f" * 32)
            item = Item("another", "f" * 32, body.items[0].order_key, sound=True)
            story.journal.sent.append(Sent(body.at, 900, "http", CLIENT, (item,)))
            story.snapshot.decided[place] = other
            return


def decide_uninvited(story: Story) -> None:
    story.decide(transfer("uninvited", BOB, ALICE, 1))


def decide_refused(story: Story) -> None:
    instruction = transfer("refused", BOB, ALICE, 1)
    story.send([instruction], refused("idempotency_key_reused"))
    story.decide(instruction)


def decide_for_another(story: Story) -> None:
    place = row_of(story, "k13")
    row = story.snapshot.decided[place]
    other = row.instruction.model_copy(update={"client_id": OTHER_CLIENT})
    story.snapshot.decided[place] = replace(row, instruction=other)


def turn_away(story: Story) -> None:
    story.send([transfer("sound", ALICE, BOB, 1)], refused("invalid_body"))


def answer_500(story: Story) -> None:
    story.journal.answered.append(Answered(story.tick(), 0, 500, ()))


def end_by_itself(story: Story) -> None:
    story.journal.ended_by_themselves.append("ledger-a")


def show_another_status(story: Story) -> None:
    seen = story.journal.seen[-1]
    story.journal.seen.append(seen._replace(status="rejected", channel="callback"))


def show_another_outcome(story: Story) -> None:
    seen = story.journal.seen[-1]
    other = seen.essence.replace('"balance":', '"balance":1')
    assert other != seen.essence
    story.journal.seen.append(seen._replace(essence=other, channel="callback"))


def show_what_is_not_stored(story: Story) -> None:
    instruction = transfer("rolled-back", ALICE, BOB, 1)
    story.send([instruction], UNKNOWN)
    now = story.tick()
    seen = Seen(now, now, "poll", CLIENT, instruction.id, "succeeded", "{}")
    story.journal.seen.append(seen)


def forget(status: str) -> Callable[[Story], None]:
    def show(story: Story) -> None:
        asked_at = story.tick()
        seen = story.journal.seen[-1]
        later = seen._replace(at=story.tick(), asked_at=asked_at, status=status, essence="")
        story.journal.seen.append(later)

    return show


def swap(story: Story) -> None:
    """The second of two that only differ in their keys takes the place of the first."""
    first, second = transfer("s1", BOB, ALICE, 1), transfer("s2", BOB, ALICE, 1)
    story.send([first])
    story.send([second])
    story.decide(second)
    story.decide(first)


def swap_in_a_batch(story: Story) -> None:
    first, second = transfer("s1", BOB, ALICE, 1), transfer("s2", BOB, ALICE, 1)
    story.send([first, second])
    story.decide(second)
    story.decide(first)


def ignore_an_opening(story: Story) -> None:
    """Its destination was opened, and seen to be, but in another partition."""
    story.tell(open_wallet("o1", BEN, "family"))
    instruction = transfer("o2", ALICE, BEN, 1)
    story.send([instruction])
    wallets = story._books.wallets
    hidden = {id_: wallet for id_, wallet in wallets.items() if id_ != wallet_id(BEN)}
    story._books = replace(story._books, wallets=hidden)
    story.decide(instruction)


def decide_wrongly(story: Story) -> None:
    place = row_of(story, "k8")
    row = story.snapshot.decided[place]
    assert row.outcome.rejection is not None
    rejection = row.outcome.rejection._replace(available=1)
    outcome = row.outcome._replace(rejection=rejection)
    story.snapshot.decided[place] = replace(row, outcome=outcome)
    story.journal.seen.clear()


def overlook_a_debit(story: Story) -> None:
    """A decision that saw the wallet as it was before an earlier one of its own partition."""
    place = row_of(story, "k8")
    row = story.snapshot.decided[place]
    assert row.outcome.source_seq is not None
    outcome = row.outcome._replace(source_seq=row.outcome.source_seq - 2)
    story.snapshot.decided[place] = replace(row, outcome=outcome)
    story.journal.seen.clear()


def leave_a_gap(story: Story) -> None:
    place = row_of(story, "k13")
    row = story.snapshot.decided[place]
    story.snapshot.decided[place] = replace(row, position=row.position + 1)


def decide_elsewhere(story: Story) -> None:
    place = row_of(story, "k13")
    row = story.snapshot.decided[place]
    story.snapshot.decided[place] = replace(row, partition=1 - row.partition, position=99)


def tell_differently(story: Story) -> None:
    story.feed()
    first = story.journal.told[0]
    story.journal.told.append(first._replace(digest="other"))


def tell_too_little(story: Story) -> None:
    story.feed()
    story.journal.told.pop()


def tell_nothing(story: Story) -> None:
    story.journal.listeners.append(Listener(FEED, CLIENT))


def tell_too_much(story: Story) -> None:
    story.feed()
    now = story.tick()
    story.journal.told.append(Told(now, FEED, CLIENT, "e", "entry.posted", "i", "d"))


def find_something(story: Story) -> None:
    story.snapshot.findings.append("wallet x balance differs from the sum of its entries")


def leave_a_message(story: Story) -> None:
    story.snapshot.queues["ledger.p000"] = 1


def park_what_is_sound(story: Story) -> None:
    story.snapshot.parked.append((digest_of(b"{}"), "an id", "undecided"))


def lose_poison(story: Story) -> None:
    story.journal.poison.append(digest_of(b"poison"))


SPOILT: Final[list[tuple[str, Callable[[Story], None]]]] = [
    ("lost", lose),
    ("doubled", double),
    ("doubled", misname),
    ("uninvited", decide_uninvited),
    ("uninvited", decide_refused),
    ("uninvited", decide_for_another),
    ("turned away", turn_away),
    ("misanswered", answer_500),
    ("misanswered", end_by_itself),
    ("unequal", show_another_status),
    ("unequal", show_another_outcome),
    ("unequal", show_what_is_not_stored),
    ("forgotten", forget("queued")),
    ("forgotten", forget(MISSING)),
    ("disordered", swap),
    ("disordered", swap_in_a_batch),
    ("unawaited", ignore_an_opening),
    ("replay", decide_wrongly),
    ("replay", overlook_a_debit),
    ("replay", leave_a_gap),
    ("replay", decide_elsewhere),
    ("telling", tell_differently),
    ("telling", tell_too_little),
    ("telling", tell_nothing),
    ("telling", tell_too_much),
    ("unproven", find_something),
    ("left over", leave_a_message),
    ("misparked", park_what_is_sound),
    ("misparked", lose_poison),
]

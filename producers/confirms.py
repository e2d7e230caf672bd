"""Which message a confirm is about. Pure: no socket, no clock, no thread of its own."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from producers.messages import Outgoing, Reason, Unconfirmed

_PENDING: Final = Unconfirmed("timeout")
"""Stands for an outcome that is not known yet."""


class Handover:
    """The messages of one publish, on their way from a caller to the publisher's thread.

    The caller waits; the thread takes it, sends it and settles each message. Neither needs a
    lock of its own for that: each field is written by one side only.
    """

    __slots__ = ("_done", "_left", "_outcomes", "abandoned", "frames", "messages", "taken")

    def __init__(self, messages: Sequence[Outgoing], frames: Sequence[bytes]) -> None:
        self.messages = messages
        self.frames = frames
        self.taken = False
        self.abandoned = False
        self._outcomes: list[Unconfirmed | None] = [_PENDING] * len(messages)
        self._left = len(messages)
        self._done = threading.Lock()
        self._done.acquire()

    def take(self) -> bool:
        """Claim it for sending; False if its caller has given up. By the thread."""
        # The mark is set before the other is read, here and in `wait`: of the two, at least one
        # sees the other's, so that what is called unsent is never sent afterwards.
        self.taken = True
        return not self.abandoned

    def settle(self, place: int, reason: Reason | None) -> None:
        """Say what became of one message; None means confirmed. By the thread."""
        self._outcomes[place] = None if reason is None else Unconfirmed(reason)
        self._left -= 1
        if not self._left:
            self._done.release()

    def refuse(self, reason: Reason) -> None:
        """Settle all of a handover that was never sent. By the thread."""
        for place in range(len(self.messages)):
            self.settle(place, reason)

    def wait(self, timeout_s: float) -> list[Unconfirmed | None]:
        """What became of each message, in order, within the time. By the caller."""
        if self._done.acquire(timeout=timeout_s):
            return self._outcomes
        self.abandoned = True
        missed: Reason = "timeout" if self.taken else "unavailable"
        # A copy, since the thread may go on to settle what was sent.
        return [
            Unconfirmed(missed) if outcome is _PENDING else outcome
            for outcome in tuple(self._outcomes)
        ]


class UnknownTag(Exception):
    """The broker confirmed what was never sent: nothing else it says can be believed."""


class Confirms:
    """The messages sent on one channel that the broker has yet to answer for.

    Delivery tags count from 1 on each channel. There is one of these per channel, thrown away
    with it, so that a confirm of an earlier channel cannot meet a message of a later one. A
    message whose caller no longer waits stays until its own confirm comes.
    """

    def __init__(self) -> None:
        self.settled = 0
        self._sent: dict[int, tuple[Handover, int]] = {}
        self._next = 1
        self._oldest = 1
        # The id of each returned message, with the last tag sent when it came back.
        self._returned: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sent)

    def sent(self, handover: Handover) -> None:
        """Note the messages of a handover as sent, in their order."""
        tag = self._next
        for place in range(len(handover.messages)):
            self._sent[tag] = handover, place
            tag += 1
        self._next = tag

    def returned(self, message_id: str) -> None:
        """A message could not be routed. The acknowledgement that follows is not a promise.

        A return names the message, not the tag. Of several with one id that are on their way,
        all count as returned: none is called confirmed that may be lost.
        """
        self._returned[message_id] = self._next - 1
        self._returned.move_to_end(message_id)

    def answered(self, tag: int, *, multiple: bool, reason: Reason | None) -> None:
        """Settle what an ack (reason None) or a nack is about: one tag, or all up to it.

        Raises: UnknownTag if that tag is not waiting for an answer.
        """
        if not self._oldest <= tag < self._next:
            raise UnknownTag(f"confirm of {tag}, waiting for {self._oldest} to {self._next - 1}")
        if multiple:
            for each in range(self._oldest, tag + 1):
                self._settle(each, reason)
            self._oldest = tag + 1
        elif not self._settle(tag, reason):
            raise UnknownTag(f"second confirm of {tag}")
        while self._oldest < self._next and self._oldest not in self._sent:
            self._oldest += 1
        while self._returned and next(iter(self._returned.values())) < self._oldest:
            self._returned.popitem(last=False)

    def fail(self, reason: Reason) -> None:
        """Settle all that is still waiting: the channel is gone."""
        for handover, place in self._sent.values():
            handover.settle(place, reason)
        self._sent.clear()
        self._oldest = self._next

    def _settle(self, tag: int, reason: Reason | None) -> bool:
        found = self._sent.pop(tag, None)
        if found is None:
            return False
        handover, place = found
        if reason is None and self._returned and self._came_back(tag, handover.messages[place]):
            reason = "returned"
        self.settled += 1
        handover.settle(place, reason)
        return True

    def _came_back(self, tag: int, message: Outgoing) -> bool:
        return tag <= self._returned.get(message.message_id, 0)

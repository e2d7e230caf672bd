"""Letters to send in tests, without an endpoint or a row."""

from workers.callbacks.letters import Attempt, Letter
from workers.callbacks.sender import Sender

SECRET = b"s" * 32


def letters(count: int = 1) -> list[Letter]:
    return [Letter(f"event-{number}", b'{"n": %d}' % number) for number in range(count)]


def one(sender: Sender, url: str) -> Attempt:
    [attempt] = sender.start("endpoint", url, letters(), [SECRET]).result()
    assert attempt is not None
    return attempt

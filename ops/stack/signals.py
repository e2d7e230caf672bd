"""Ctrl-C, and being asked to end, while something is half started."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_Handler = Callable[[int, FrameType | None], None]
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending_interrupts() -> Iterator[None]:
    """SIGTERM and a closed terminal raise KeyboardInterrupt, as Ctrl-C does."""
    with _handling(_interrupt, _ENDING[1:]):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """A second, impatient Ctrl-C does not interrupt the cleaning up after the first."""
    # A handler, not SIG_IGN: what is ignored stays ignored in every child.
    with _handling(lambda _number, _frame: None, _ENDING):
        yield


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _handling(handler: _Handler, numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread only.
        return
    before = [(number, signal.signal(number, handler)) for number in numbers]
    try:
        yield
    finally:
        for number, previous in before:
            signal.signal(number, previous)

"""`python -m workers.callbacks.sender_main FD`: the process of a sender, at the other end of FD.

It ends when it is told to, or when the process that made it has ended, however that was.
"""

import os
import signal
import sys
import threading
from concurrent.futures import Future
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from config.collector import settle_collector
from workers.callbacks.sender import Sender
from workers.callbacks.sender_process import END, STOP


def main() -> None:
    """Send what comes over the line, and answer with what came of it."""
    # Ctrl-C reaches every process of a terminal; the one that has jobs for us says when to end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    line = Connection(int(sys.argv[1]))
    sender = Sender(**line.recv())
    answering = threading.Lock()

    def answer(number: int, sent: "Future[Any]") -> None:
        with answering:
            line.send((number, sent.result()))

    settle_collector()
    while True:
        try:
            message = line.recv()
        except (EOFError, OSError):
            message = END
        if message == END:
            os._exit(0)
        elif message == STOP:
            sender.stop()
        else:
            number, job = message
            sender.start(*job).add_done_callback(partial(answer, number))


if __name__ == "__main__":
    main()

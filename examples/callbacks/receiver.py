"""Receive callbacks: check each, act on it once, answer 204, and print a line of JSON.

WEBHOOK_SECRET=whsec_… python receiver.py PORT DATABASE
"""

import json
import os
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from verify import verify


class Receiver(BaseHTTPRequestHandler):
    """One connection, which is kept: the next callback comes over it too."""

    protocol_version, timeout = "HTTP/1.1", 60

    def do_POST(self):
        """Answer 2xx for what is ours, whether or not it is new, and 4xx for all else."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > 2**20:
            return self.answer(413)
        body = self.rfile.read(int(length))
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        try:
            verify(os.environ["WEBHOOK_SECRET"], *(self.headers.get(n, "") for n in names), body)
        except ValueError as error:
            say({"refused": str(error)})
            return self.answer(401)
        act_once(json.loads(body))
        return self.answer(204)

    def answer(self, status):
        """Answer without a body; a connection that brought what is not ours is closed."""
        self.close_connection = status != 204
        self.send_response_only(status)
        self.end_headers()


def act_once(event):
    """Act, and remember the id, in one transaction: a repeat or a replay finds it there."""
    with guard, seen:
        new = seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", [event["id"]]).rowcount == 1
        say({"new": new, **event})


def say(line):
    """Print one line at once, whatever other threads print."""
    os.write(1, (json.dumps({"received_at": time.time(), **line}) + "\n").encode())


if __name__ == "__main__":
    guard, seen = threading.Lock(), sqlite3.connect(sys.argv[2], check_same_thread=False)
    seen.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
    seen.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY) WITHOUT ROWID")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()

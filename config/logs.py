"""Logging of every process: one JSON object a line, on standard error, with nothing private in it.

Bodies, names and passwords stay out: callers pass ids and counts as `extra`, and of an
exception only its kind and place are written, because a driver's message quotes data.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

_USER_AND_PASSWORD: Final = re.compile(r"://[^/@\s]*@")

_FRAMES_SHOWN: Final = 12

_QUOTES_NO_DATA: Final = frozenset({"amqp", "config", "domain", "storage", "producers", "workers"})
"""Packages whose exceptions say what happened without repeating what was sent."""


def configure_logging(level: str) -> None:
    """Send every record of this process, libraries' included, to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # Says once per message what a closing channel lets go: up to a prefetch of lines.
    logging.getLogger("amqp").setLevel(logging.ERROR)


class JsonLines(logging.Formatter):
    """A record as one JSON object: `at`, `level`, `logger`, `pid`, `message`, and its extras."""

    def format(self, record: logging.LogRecord) -> str:
        """Make the line; never raises for what an extra holds."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
            "message": without_passwords(record.getMessage()),
        }
        line.update((k, v) for k, v in vars(record).items() if k not in _STANDARD)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = [described(error) for error in _chain(record.exc_info[1])]
            line["where"] = places(record.exc_info[1].__traceback__)
        return json.dumps(line, default=str, ensure_ascii=False)


def without_passwords(text: str) -> str:
    """The text with user and password cut out of every URL."""
    return _USER_AND_PASSWORD.sub("://…@", text)


def described(error: BaseException) -> str:
    """Name an error without what it may quote: its class, SQLSTATE if any, and a safe message."""
    kind = type(error)
    parts = [kind.__name__]
    state = getattr(getattr(error, "orig", error), "pgcode", None)
    if state is not None:
        parts.append(str(state))
    if isinstance(error, OSError) or kind.__module__.split(".")[0] in _QUOTES_NO_DATA:
        parts.append(without_passwords(str(error)))
    return " ".join(parts)


def places(traceback: TracebackType | None) -> list[str]:
    """The innermost frames of a traceback, the failing line last, without its source."""
    found = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        found.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return found[-_FRAMES_SHOWN:]


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what caused it, the outermost first."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return chain

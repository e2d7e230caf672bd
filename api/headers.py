"""The request headers that mean something here."""

import re
from typing import Final

from flask import request

from api.problems import Problem

WAIT_S_MAX: Final = 30

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

_WAIT: Final = re.compile(r'\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:;.*)?', re.ASCII | re.IGNORECASE)


def idempotency_key() -> str:
    """The caller's name for the instruction in hand.

    Raises: Problem 400 idempotency_key_missing or idempotency_key_invalid.
    """
    given = request.headers.get("Idempotency-Key")
    if given is None or not given.strip():
        raise Problem("idempotency_key_missing")
    key = given.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key):
        raise Problem("idempotency_key_invalid")
    return key


def wait_s() -> int:
    """For how long the caller would like to wait for an outcome: 0 to 30 whole seconds.

    Preferences are advisory, so what is malformed is as good as not said (RFC 7240).
    """
    header = request.headers.get("Prefer")
    if header is None:
        return 0
    for preference in header.split(","):
        if wait := _WAIT.fullmatch(preference):
            return min(int(wait[1]), WAIT_S_MAX)  # Of several, the first counts.
    return 0

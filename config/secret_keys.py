"""The keys that stored secrets are encrypted with, as a setting writes them."""

import base64
import binascii
import re
import secrets
from typing import Final

KEY_BYTES: Final = 32

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def parse_secret_keys(text: str) -> dict[str, bytes]:
    """Read `id:base64[,older:base64…]`: the keys by id, the one that encrypts first.

    Raises: ValueError, which repeats nothing of the text.
    """
    keys: dict[str, bytes] = {}
    for place, part in enumerate(text.split(","), 1):
        key_id, colon, encoded = part.strip().partition(":")
        if not colon or not _ID.fullmatch(key_id):
            raise ValueError(
                f"must be id:base64[,older:base64…], which its key {place} is not: "
                "an id has 1 to 64 letters, digits and ._-"
            )
        if key_id in keys:
            raise ValueError(f"must name each key once, which its key {place} does not")
        keys[key_id] = _decoded(encoded, place)
    return keys


def make_secret_key(key_id: str) -> str:
    """A new key, as one part of the setting."""
    return f"{key_id}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def _decoded(encoded: str, place: int) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"must hold keys of {KEY_BYTES} bytes in base64; its key {place} is none")
    return key

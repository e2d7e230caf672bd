"""JSON as strictly as money wants it."""

import json
from typing import Any, Final, Never


class MalformedJson(ValueError):
    """The bytes are not one JSON text as RFC 8259 and I-JSON (RFC 7493) want it."""


def decode_json(body: bytes) -> Any:
    """Parse one JSON text from bytes that anybody may have sent.

    Refuses what the standard library lets pass: duplicate keys, NaN and infinities,
    encodings other than UTF-8, and nesting that exhausts the stack. Numbers with a
    fraction or an exponent stay text-exact floats; the types refuse them where an
    integer is due.

    Raises: MalformedJson.
    """
    try:
        return _DECODER.decode(body.decode())
    except MalformedJson:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedJson(_reason(error)) from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    decoded = dict(pairs)
    if len(decoded) != len(pairs):
        raise MalformedJson("an object names a key twice")
    return decoded


def _refuse_constant(name: str) -> Never:
    raise MalformedJson(f"{name} is not a JSON number")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
"""Made once: to make it takes half as long as to decode a transfer."""


def _reason(error: Exception) -> str:
    """Say what is wrong without repeating what was sent."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "not readable as JSON"

"""How a callback proves where it comes from: signatures as Standard Webhooks has them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

SECRET_BYTES: Final = 32

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"


def secret_text(secret: bytes) -> str:
    """A secret as its receiver is given it: `whsec_` and base64."""
    return _PREFIX + base64.b64encode(secret).decode()


def sign(secret: bytes, event_id: str, timestamp_s: int, body: bytes) -> str:
    """`v1,` and the base64 of an HMAC-SHA256 over id, time of sending and body."""
    signed = f"{event_id}.{timestamp_s}.".encode() + body
    digest = hmac.digest(secret, signed, hashlib.sha256)
    return f"{_VERSION},{base64.b64encode(digest).decode()}"


def signed_headers(
    secrets: Iterable[bytes], event_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """The headers of one attempt, signed by every secret that is valid now.

    `timestamp_s` is that of the attempt, not of the event: receivers refuse what is old.
    """
    signatures = [sign(secret, event_id, timestamp_s, body) for secret in secrets]
    return {
        ID_HEADER: event_id,
        TIMESTAMP_HEADER: str(timestamp_s),
        SIGNATURE_HEADER: " ".join(signatures),
    }

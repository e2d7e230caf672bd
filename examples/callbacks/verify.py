"""Tell whether a callback is ours, whole and fresh.

WEBHOOK_SECRET=whsec_… python verify.py ID TIMESTAMP SIGNATURE < body
"""

import base64
import hmac
import os
import sys
import time

TOLERANCE_S = 300


def verify(secret: str, event_id: str, timestamp: str, signature: str, body: bytes) -> None:
    """Take three headers and the body as it came. Raises: ValueError, saying why not."""
    if abs(int(time.time()) - int(timestamp)) > TOLERANCE_S:
        raise ValueError("sent too long ago, or not yet")
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if len(key) != 32:
        raise ValueError("this is no secret of an endpoint")
    digest = hmac.digest(key, f"{event_id}.{timestamp}.".encode() + body, "sha256")
    expected = b"v1," + base64.b64encode(digest)
    # While a secret is rotated there are two signatures; one that fits is enough.
    given = [each.encode() for each in signature.split(" ")]
    if not any(hmac.compare_digest(expected, each) for each in given):
        raise ValueError("no signature fits")


if __name__ == "__main__":
    event_id, timestamp, signature = sys.argv[1:]
    try:
        verify(
            os.environ["WEBHOOK_SECRET"], event_id, timestamp, signature, sys.stdin.buffer.read()
        )
    except ValueError as error:
        sys.exit(f"refused: {error}")
    print("verified")

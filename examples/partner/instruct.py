"""Give one instruction and follow it to its outcome. Needs pika, and partner.py beside it.

    BROKER_URL=amqps://partner.acme:…@host/vhost \
    python instruct.py deposit invoice-4711 '{"wallet_id": "…", "amount": 25000, "currency": "KES"}'
"""

import json
import os
import sys

from partner import Partner

FINAL = ("instruction.refused", "instruction.rejected", "instruction.succeeded")


def main(instruction_type: str, key: str, data: str) -> int:
    """0 if it succeeded, 1 if it was refused or rejected, 2 if nothing is known of it yet."""
    with Partner(os.environ["BROKER_URL"]) as partner:
        partner.send(instruction_type, json.loads(data), key)
        for event in partner.events(quiet_s=30):
            print(event.type, json.dumps(event.data), flush=True)
            # A program of your own would keep what it was told here, by event.id.
            event.done()
            if event.type in FINAL and event.data.get("idempotency_key") == key:
                return 0 if event.type == "instruction.succeeded" else 1
    return 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

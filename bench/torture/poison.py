"""What is no instruction, put into partitions' queues now and then, as a defect of ours might."""

import asyncio
import json
import random
from typing import Final

from bench.torture.checker import digest_of
from bench.torture.journal import Journal
from bench.torture.town import PARTITIONS
from config.broker import LEDGER_EXCHANGE
from producers.messages import Outgoing
from producers.publisher import Publisher
from producers.topology import declaring

_EVERY_S: Final = (3.0, 10.0)


async def spread(
    broker_url: str, journal: Journal, chance: random.Random, stopping: asyncio.Event
) -> None:
    """Publish poison until told to stop; each is noted once the broker has it."""
    publisher = Publisher(
        broker_url, name="poison", confirm_timeout_s=5.0, declare=declaring(PARTITIONS)
    )
    try:
        while not stopping.is_set():
            body = _poison(chance)
            message = Outgoing(
                exchange=LEDGER_EXCHANGE,
                routing_key=str(chance.randrange(PARTITIONS)),
                body=body,
                message_id=digest_of(body)[:32],
            )
            # Parked once however often it comes, so it can be sent until it is confirmed.
            while any(await asyncio.to_thread(publisher.publish, [message])):
                await asyncio.sleep(0.5)
            journal.poison.append(digest_of(body))
            await asyncio.sleep(chance.uniform(*_EVERY_S))
    finally:
        await asyncio.to_thread(publisher.close)


def _poison(chance: random.Random) -> bytes:
    """Bytes that nobody can decide, never the same twice."""
    number = chance.randrange(10**12)
    return chance.choice(
        (
            f"poison {number}".encode(),
            chance.randbytes(200),
            json.dumps({"version": 1, "type": "transfer", "amount": number}).encode(),
            json.dumps([number]).encode(),
            b"[" * 2000 + str(number).encode(),
        )
    )

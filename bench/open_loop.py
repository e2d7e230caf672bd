"""Requests on a fixed schedule, whether or not the server keeps up.

A closed loop asks less of a slow server and so never sees how long others would have waited
(coordinated omission). Here the schedule stands: what is late is late by the schedule.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_TICK_S: Final = 0.001
_ACCEPTED: Final = frozenset({b"200", b"202"})


@dataclass(frozen=True, slots=True)
class Post:
    """One request, ready to be sent, and the instruction that it makes."""

    instruction_id: str
    request: bytes


@dataclass(slots=True)
class Sent:
    """When each was due, by `time.perf_counter`, and how many were not accepted."""

    due_at: dict[str, float]
    refused: int = 0


def send(host: str, port: int, posts: Sequence[Post], per_s: float, connections: int) -> Sent:
    """Send them evenly, so many a second, over so many connections that are kept.

    Raises: OSError if the server ends a connection.
    """
    return asyncio.run(_send(host, port, posts, per_s, connections))


async def _send(
    host: str, port: int, posts: Sequence[Post], per_s: float, connections: int
) -> Sent:
    due: asyncio.Queue[Post | None] = asyncio.Queue()
    sent = Sent({})
    streams = [await asyncio.open_connection(host, port) for _ in range(connections)]
    async with asyncio.TaskGroup() as tasks:
        for reader, writer in streams:
            tasks.create_task(_serve(reader, writer, due, sent))
        await _keep_schedule(posts, per_s, due, sent)
        for _ in streams:
            due.put_nowait(None)
    return sent


async def _keep_schedule(
    posts: Sequence[Post], per_s: float, due: asyncio.Queue[Post | None], sent: Sent
) -> None:
    begun = time.perf_counter()
    for number, post in enumerate(posts):
        at = begun + number / per_s
        while time.perf_counter() < at:
            await asyncio.sleep(_TICK_S)
        sent.due_at[post.instruction_id] = at
        due.put_nowait(post)


async def _serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    due: asyncio.Queue[Post | None],
    sent: Sent,
) -> None:
    """One connection: send what is due, read the answer, and so on."""
    while (post := await due.get()) is not None:
        writer.write(post.request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_content_length(head))
        if head.split(b" ", 2)[1] not in _ACCEPTED:
            sent.refused += 1
            # Without an outcome there is nothing to wait for.
            del sent.due_at[post.instruction_id]
    writer.close()


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise ConnectionError("the answer does not say how long it is")

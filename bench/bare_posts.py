"""`python -m bench.bare_posts URL FILE CONCURRENCY`: the peer of callbacks, a bare loop.

The same HTTP client posts the same bodies under the same headers, so many at once. It knows no
database and signs nothing: what it needs longer for is HTTP alone.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from aiohttp import ClientSession, TCPConnector

Posts = Iterator[tuple[dict[str, str], bytes]]


async def post_all(url: str, posts: Posts, concurrency: int) -> None:
    """Post each, `concurrency` at a time. Raises: ClientError, also for what is not 2xx."""
    connector = TCPConnector(limit=concurrency)
    async with (
        ClientSession(connector=connector, raise_for_status=True) as session,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(concurrency):
            tasks.create_task(_post_in_turn(session, url, posts))


async def _post_in_turn(session: ClientSession, url: str, posts: Posts) -> None:
    for headers, body in posts:
        async with session.post(url, data=body, headers=headers) as response:
            await response.read()


def read_posts(path: Path) -> Posts:
    """Lines of JSON, each the headers and the body of a post."""
    read = [json.loads(line) for line in path.read_text().splitlines()]
    return iter([(headers, body.encode()) for headers, body in read])


if __name__ == "__main__":
    asyncio.run(post_all(sys.argv[1], read_posts(Path(sys.argv[2])), int(sys.argv[3])))

"""The proxy passes everything on, and is a bad network when it is told to be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.torture.proxy import COMMIT, Link

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, Ends, Ends]]:
    """A link with a client and the server that it was led to."""
    arrived: asyncio.Future[Ends] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(
        lambda reader, writer: arrived.set_result((reader, writer)), "127.0.0.1", 0
    )
    link = Link("tests", server.sockets[0].getsockname()[1])
    await link.open()
    client = await asyncio.open_connection("127.0.0.1", link.port)
    served = await arrived
    try:
        yield link, client, served
    finally:
        for _, writer in (client, served):
            writer.close()
        link.close()
        server.close()
        await asyncio.sleep(0.05)


def test_everything_is_passed_on_both_ways() -> None:
    async def run() -> None:
        async with linked() as (_, (reader, writer), (server_reader, server_writer)):
            sent = bytes(range(256)) * 8192
            writer.write(sent)
            assert await server_reader.readexactly(len(sent)) == sent
            server_writer.write(sent)
            assert await reader.readexactly(len(sent)) == sent

    asyncio.run(run())


def test_what_is_stalled_goes_on_in_order_afterwards() -> None:
    async def run() -> None:
        async with linked() as (link, (_, writer), (server_reader, _)):
            link.stall()
            writer.write(b"first ")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(server_reader.read(100), 0.2)
            writer.write(b"second")
            link.release()
            assert await server_reader.readexactly(12) == b"first second"

    asyncio.run(run())


def test_a_reset_is_a_reset_on_both_sides() -> None:
    async def run() -> None:
        async with linked() as (link, (reader, writer), (server_reader, _)):
            writer.write(b"x")
            assert await server_reader.read(1) == b"x"
            link.reset()
            with pytest.raises(ConnectionResetError):
                await reader.read(1)

    asyncio.run(run())


@pytest.mark.parametrize(("word", "arrives"), [("commit", COMMIT), ("before-commit", b"")])
def test_a_connection_is_cut_at_its_commit(word: str, arrives: bytes) -> None:
    async def run() -> None:
        async with linked() as (link, (reader, writer), (server_reader, _)):
            cutting = asyncio.create_task(link.cut_at(word, 5))
            await asyncio.sleep(0)
            writer.write(b"Q\0\0\0\x0b" + COMMIT)
            assert await cutting
            assert (await server_reader.read(100)).endswith(arrives)
            with pytest.raises(ConnectionResetError):
                await reader.read(1)

    asyncio.run(run())


def test_a_delay_delays() -> None:
    async def run() -> None:
        async with linked() as (link, (_, writer), (server_reader, _)):
            link.delay_s = 0.3
            begun = asyncio.get_running_loop().time()
            writer.write(b"x")
            await server_reader.readexactly(1)
            assert asyncio.get_running_loop().time() - begun >= 0.29

    asyncio.run(run())

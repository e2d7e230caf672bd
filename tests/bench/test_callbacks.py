"""What callbacks are measured with: the receiver, the bare loop, the worker without an outbox."""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import ClientResponseError
from sqlalchemy import Engine, text

from bench.bare_posts import post_all, read_posts
from bench.bench import Bench
from bench.books import instructions_count, open_wallets
from bench.clock import Clock
from bench.figures.callbacks import line_of
from bench.ground import Ground
from bench.progress import Steps
from bench.receiver import Receiver
from bench.sizes import SMOKE
from bench.transfers import uniform
from bench.waiting import Waiting
from ops.errors import OperatorError
from ops.stack.services import Services

WALLETS = 20


def posts(tmp_path: Path, *lines: tuple[dict[str, str], str]) -> Path:
    path = tmp_path / "posts"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_bare_loop_posts_each_body_once_under_its_headers_and_all_are_noted(tmp_path):
    sent = [({"webhook-id": f"e-{n}", "webhook-signature": "s"}, f"{n}é" * n) for n in range(50)]

    with Receiver() as receiver:
        asyncio.run(post_all(receiver.url, read_posts(posts(tmp_path, *sent)), 8))
        receiver.wait(50)

    bodies = {name.decode(): call.body.decode() for name, call in receiver.calls.items()}
    assert bodies == {headers["webhook-id"]: body for headers, body in sent}
    assert receiver.repeats == 0
    assert receiver.per_s() > 0


def test_what_was_received_can_be_posted_once_more_as_it_was(tmp_path):
    sent = posts(tmp_path, ({"webhook-id": "e", "Content-Type": "application/json"}, "é\n"))

    with Receiver() as receiver:
        asyncio.run(post_all(receiver.url, read_posts(sent), 1))
        [call] = receiver.calls.values()
        sent.write_text(line_of(call))
        asyncio.run(post_all(receiver.url, read_posts(sent), 1))

    assert json.loads(line_of(call)) == [
        {"webhook-id": "e", "Content-Type": "application/json"},
        "é\n",
    ]
    assert receiver.repeats == 1


def test_a_bare_loop_whose_posts_are_refused_fails(tmp_path):
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def post() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            await post_all(f"http://127.0.0.1:{port}/", read_posts(sent), 1)

    sent = posts(tmp_path, ({"webhook-id": "e"}, ""))

    with pytest.raises(ExceptionGroup) as failures:
        asyncio.run(post())
    assert failures.group_contains(ClientResponseError)


def test_callbacks_that_never_come_are_told(monkeypatch):
    monkeypatch.setattr("bench.receiver._PATIENCE_S", 0.1)

    with Receiver() as receiver, pytest.raises(OperatorError, match="Of 1 callbacks 0 came"):
        receiver.wait(1)


def events_count(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM events")) or 0)


def test_the_worker_without_an_outbox_decides_everything_and_tells_nobody(services: Services):
    ground = Ground(services.run.path, services)
    ground.up()
    clock = Clock(60)
    with Steps(clock) as steps, ground.operator() as engine:
        open_wallets(engine, ground.client_id, WALLETS)
        waiting = Waiting(Bench(ground, SMOKE, clock, steps))
        draw = uniform(WALLETS, Bench(ground, SMOKE, clock, steps).chance)
        decided, told = instructions_count(engine), events_count(engine)

        waiting.publish(40, draw, draw)
        with ground.running(*ground.workers_without_outbox()):
            waiting.drained_per_s()
        assert instructions_count(engine) == decided + 40
        assert events_count(engine) == told

        waiting.publish(40, draw, draw)
        with ground.running(*ground.workers()):
            waiting.drained_per_s()
        assert instructions_count(engine) == decided + 80
        assert events_count(engine) > told
        waiting.close()

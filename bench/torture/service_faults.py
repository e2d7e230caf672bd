"""Postgres, RabbitMQ and Redis: stopped, killed, filled, locked, emptied."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any, Final

import psycopg2
import redis

from bench.torture.faults import BROKER_PATIENCE_S, Missed, Scene, Table

_OUTAGE_S: Final = (0.5, 3.0)

_IN_TRANSACTION: Final = """
    SELECT pid FROM pg_stat_activity
    WHERE application_name = 'tekana-ledger' AND xact_start IS NOT NULL
"""
_OURS: Final = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tekana-%'"


def _outage_s(scene: Scene) -> float:
    return scene.chance.uniform(*_OUTAGE_S)


async def _restart_broker(scene: Scene) -> str:
    await asyncio.to_thread(scene.services.rabbitmq.restart)
    return ""


async def _kill_broker(scene: Scene) -> str:
    await asyncio.to_thread(scene.services.rabbitmq.kill)
    await asyncio.to_thread(scene.services.rabbitmq.start)
    return ""


async def _alarm(scene: Scene) -> str:
    rabbitmq = scene.services.rabbitmq
    await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0")
    try:
        await asyncio.sleep(3.0)
    finally:
        await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "absolute", "1GB")
    return ""


async def _close_connections(scene: Scene) -> str:
    await asyncio.to_thread(
        scene.services.rabbitmq.ctl, "close_all_connections", "--global", "torture"
    )
    return ""


async def _close_channel(scene: Scene) -> str:
    links = [link for link in scene.town.links.values() if link.amqp]
    scene.chance.shuffle(links)
    for _ in range(40):
        for link in links:
            if link.close_channel(scene.chance):
                return link.name
        await asyncio.sleep(0.05)
    raise Missed("no channel was open")


async def _stop_postgres(scene: Scene) -> str:
    await asyncio.to_thread(scene.services.postgres.stop, "immediate")
    await asyncio.sleep(_outage_s(scene))
    await asyncio.to_thread(scene.services.postgres.start)
    return ""


async def _terminate_backend(scene: Scene) -> str:
    return await asyncio.to_thread(_on_a_transaction, scene, "terminate")


async def _kill_backend(scene: Scene) -> str:
    done = await asyncio.to_thread(_on_a_transaction, scene, "kill")
    # Postgres ends all its sessions and recovers.
    await asyncio.to_thread(_await_postgres, scene)
    return done


def _on_a_transaction(scene: Scene, how: str) -> str:
    """Hit a session of the ledger while a transaction of it is open."""
    with _outsider(scene) as cursor:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            cursor.execute(_IN_TRANSACTION)
            pids = [row[0] for row in cursor.fetchall()]
            if pids:
                pid = scene.chance.choice(pids)
                if how == "kill":
                    os.kill(pid, signal.SIGKILL)
                else:
                    cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))
                return f"backend {pid}"
            # A transaction is open for a few milliseconds: look often, or never meet one.
            time.sleep(0.002)
    raise Missed("no transaction was open")


def _await_postgres(scene: Scene) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(psycopg2.Error), _outsider(scene) as cursor:
            cursor.execute("SELECT 1")
            return
        if not scene.services.postgres.running():
            scene.services.postgres.start()
        # It is starting, and tells nobody when it accepts.
        time.sleep(0.1)


async def _lock(scene: Scene) -> str:
    """Somebody's forgotten transaction: on busy wallets, or on a whole table."""
    statement = scene.chance.choice(
        (
            "SELECT 1 FROM wallets ORDER BY seq DESC LIMIT 20 FOR UPDATE",
            "LOCK TABLE instructions IN ACCESS EXCLUSIVE MODE",
            "LOCK TABLE wallets IN EXCLUSIVE MODE",
        )
    )

    def hold() -> None:
        with _outsider(scene) as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SET LOCAL lock_timeout = '10s'")
            cursor.execute(statement)
            # The fault itself: the lock is held for so long.
            time.sleep(3.0)
            cursor.execute("ROLLBACK")

    await asyncio.to_thread(hold)
    return statement


async def _use_up_connections(scene: Scene) -> str:
    """Take every free connection, and those of ours as soon as they are ended."""

    def use_up() -> int:
        taken: list[Any] = []
        ended = False
        until = time.monotonic() + 4.0
        try:
            while time.monotonic() < until:
                try:
                    taken.append(_connect(scene))
                except psycopg2.OperationalError:
                    if not ended:
                        ended = True
                        with contextlib.suppress(psycopg2.Error):
                            taken[0].cursor().execute(
                                f"SELECT pg_terminate_backend(pid) FROM ({_OURS}) AS ours"
                            )
                    # All are taken; whichever is given back next is taken as well.
                    time.sleep(0.01)
        finally:
            for connection in taken:
                connection.close()
        return len(taken)

    return f"{await asyncio.to_thread(use_up)} connections"


async def _fill_disk(scene: Scene) -> str:
    disk = scene.disk
    assert disk is not None
    await asyncio.to_thread(disk.fill)
    try:
        await asyncio.sleep(3.0)
    finally:
        await asyncio.to_thread(disk.free)
    await asyncio.to_thread(_await_postgres, scene)
    return disk.kind


async def _kill_redis(scene: Scene) -> str:
    await asyncio.to_thread(scene.services.redis.kill)
    await asyncio.sleep(_outage_s(scene))
    await asyncio.to_thread(scene.services.redis.start)
    return ""


async def _pause_redis(scene: Scene) -> str:
    scene.services.redis.pause()
    try:
        await asyncio.sleep(_outage_s(scene))
    finally:
        scene.services.redis.resume()
    return ""


async def _flush_redis(scene: Scene) -> str:
    def flush() -> None:
        with redis.Redis.from_url(scene.services.redis_url) as client:
            client.flushall()

    await asyncio.to_thread(flush)
    return ""


def _connect(scene: Scene) -> Any:
    connection = psycopg2.connect(
        scene.services.database_url, connect_timeout=3, application_name="outsider"
    )
    connection.autocommit = True
    return connection


@contextlib.contextmanager
def _outsider(scene: Scene) -> Iterator[Any]:
    connection = _connect(scene)
    try:
        yield connection.cursor()
    finally:
        connection.close()


def add_to(table: Table, *, disk: bool) -> None:
    """Put the faults of the services into a table; `disk` says whether one can be filled."""
    broker = {"part": "rabbitmq", "patience_s": BROKER_PATIENCE_S}
    table.add("rabbitmq.restart", **broker)(_restart_broker)  # type: ignore[arg-type]
    table.add("rabbitmq.kill", **broker)(_kill_broker)  # type: ignore[arg-type]
    table.add("rabbitmq.alarm", "rabbitmq")(_alarm)
    table.add("rabbitmq.connections", "rabbitmq", weight=2)(_close_connections)
    table.add("rabbitmq.channel", "rabbitmq", weight=3)(_close_channel)
    table.add("postgres.stop", "postgres")(_stop_postgres)
    table.add("postgres.terminate", "postgres", weight=3)(_terminate_backend)
    table.add("postgres.kill-backend", "postgres")(_kill_backend)
    table.add("postgres.lock", "postgres", weight=2)(_lock)
    table.add("postgres.connections", "postgres")(_use_up_connections)
    if disk:
        table.add("postgres.disk-full", "postgres")(_fill_disk)
    table.add("redis.kill", "redis")(_kill_redis)
    table.add("redis.pause", "redis", weight=2)(_pause_redis)
    table.add("redis.flush", "redis", weight=3)(_flush_redis)

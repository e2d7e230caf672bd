"""The API on the wire: the real server, in a process of its own."""

import json
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from ops.stack.services import Services
from tests.api.conftest import Door, Doors, transfer_body
from tests.api.server import Server
from tests.support import wait_until


@pytest.fixture
def server(door: Door, tmp_path: Path) -> Iterator[Server]:
    running = Server(door.settings, tmp_path)
    yield running
    if running.process.poll() is None:
        running.kill()
    assert '"unexpected"' not in running.log_file.read_text()


def headers(door: Door, **more: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {door.key}",
        "Idempotency-Key": str(uuid.uuid4()),
        "Content-Type": "application/json",
        **more,
    }


def post(server: Server, door: Door, **options: object) -> requests.Response:
    given = {"json": transfer_body(), "headers": headers(door), "timeout": 40, **options}
    return requests.post(f"{server.url}/v1/transfers", **given)  # type: ignore[arg-type]


def answer_of(wire: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One HTTP answer, read to its end."""
    file = wire.makefile("rb")
    status = int(file.readline().split()[1])
    lines = iter(file.readline, b"\r\n")
    fields = {
        name.lower(): value.strip()
        for name, _, value in (line.decode().partition(":") for line in lines)
    }
    return status, fields, file.read(int(fields.get("content-length", 0)))


def chunked(total: int, size: int = 16_384) -> Iterator[bytes]:
    """So many spaces, chunk by chunk."""
    for _ in range(total // size):
        yield b" " * size


def test_2_mib_are_refused_plain_and_chunked(server: Server, door: Door) -> None:
    body = 2 * 1024 * 1024

    plain = post(server, door, json=None, data=b" " * body)
    streamed = post(server, door, json=None, data=chunked(body))

    for response in (plain, streamed):
        assert response.status_code == 413
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["code"] == "body_too_large"
    assert door.published() == []


def test_a_chunked_body_within_its_limit_is_a_body(server: Server, door: Door) -> None:
    raw = json.dumps(transfer_body()).encode()

    response = post(server, door, json=None, data=iter([raw[:10], raw[10:], b" " * 1000]))

    assert response.status_code == 202
    assert len(door.published()) == 1


def test_an_endless_body_is_refused_long_before_its_end(server: Server, door: Door) -> None:
    head = "POST /v1/transfers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers(door).items())
    with server.wire() as wire:
        wire.sendall(head.encode() + b"\r\n")
        for _ in range(10):
            wire.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")

        status, _, body = answer_of(wire)

    assert status == 413
    assert json.loads(body)["code"] == "body_too_large"


def test_a_body_that_breaks_off_is_not_taken_for_the_whole(server: Server, door: Door) -> None:
    raw = json.dumps(transfer_body()).encode()
    fields = headers(door, **{"Content-Length": str(len(raw) + 10)})
    head = "POST /v1/transfers HTTP/1.1\r\nHost: x\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with server.wire() as wire:
        wire.sendall(head.encode() + b"\r\n" + raw)
        wire.shutdown(socket.SHUT_WR)
        wire.recv(65536)

    assert door.published() == []


def test_one_connection_serves_many_requests(server: Server, door: Door) -> None:
    request = b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with server.wire() as wire:
        for _ in range(3):
            wire.sendall(request)
            status, fields, body = answer_of(wire)
            assert (status, json.loads(body)) == (200, {"status": "live"})
            assert len(fields["x-request-id"]) == 16


@pytest.mark.parametrize(
    "garbage",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/transfers HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/transfers HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/transfers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_harms_nobody(server: Server, garbage: bytes) -> None:
    with server.wire() as wire:
        wire.settimeout(5)
        try:
            wire.sendall(garbage)
            answer = wire.recv(65536)
        except OSError:
            answer = b""

    assert answer == b"" or answer.split()[1].startswith(b"4")
    assert requests.get(f"{server.url}/v1/health/live", timeout=5).status_code == 200


def test_more_waiters_than_places_leave_room_for_pollers(open_door: Doors, tmp_path: Path) -> None:
    door = open_door(api_threads=8, api_waiters=6)
    server = Server(door.settings, tmp_path)
    stop = time.monotonic() + 5

    def wait(_: int) -> bool:
        response = post(server, door, headers=headers(door, Prefer="wait=5"))
        assert response.status_code == 202
        return "Preference-Applied" in response.headers

    try:
        with ThreadPoolExecutor(20) as pool:
            waits = pool.map(wait, range(20))
            time.sleep(0.5)  # So that they are all there; none of them can end sooner than 5 s.
            polls = 0
            while time.monotonic() < stop - 1:
                polled = requests.get(f"{server.url}/v1/health/live", timeout=2)
                assert polled.elapsed.total_seconds() < 1
                polls += 1
            assert polls > 10
            assert sum(waits) == 6
    finally:
        server.kill()


def test_sigterm_answers_what_is_in_hand_and_ends(server: Server, door: Door) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, server, door, headers=headers(door, Prefer="wait=3"))
        wait_until(lambda: door.published() != [], what="the request is in hand")

        assert server.terminate() == 0

        assert waiting.result(10).status_code == 202
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=5)


def test_if_the_parent_is_killed_the_port_is_free_again(server: Server) -> None:
    server.kill()

    def free() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", server.port)) != 0

    wait_until(free, what="the port to be free")


def test_a_postgres_that_hangs_is_503_in_time(
    open_door: Doors, services: Services, tmp_path: Path
) -> None:
    door = open_door(api_key_cache_s=300)
    _, wallet_id = door.opened()
    server = Server(door.settings, tmp_path)
    url, bearer = f"{server.url}/v1/wallets/{wallet_id}", headers(door)
    try:
        assert requests.get(url, headers=bearer, timeout=5).status_code == 200
        services.postgres.pause()
        try:
            with ThreadPoolExecutor(30) as pool:
                found = list(
                    pool.map(lambda _: requests.get(url, headers=bearer, timeout=10), range(60))
                )
            for response in found:
                assert response.status_code == 503
                assert response.elapsed.total_seconds() < 3
            live = requests.get(f"{server.url}/v1/health/live", timeout=5)
            assert live.elapsed.total_seconds() < 1
            assert post(server, door).status_code == 202
        finally:
            services.postgres.resume()
        wait_until(lambda: requests.get(url, headers=bearer, timeout=5).status_code == 200)
    finally:
        server.kill()


def test_a_wrong_partition_count_stops_the_start(door: Door, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="partitions"):
        Server(door.settings, tmp_path, partitions=7)


def test_200_posts_at_once_are_all_accepted_once(server: Server, door: Door) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: post(server, door), range(200)))

    assert {response.status_code for response in answers} == {202}
    published = [each.id for each in door.published()]
    assert sorted(published) == sorted(response.json()["id"] for response in answers)

"""Callbacks never reach a private address, however it is spelled or whoever says it."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.workers.letters import one
from tests.workers.receiver import Answer, receiving
from workers.callbacks import sender as module
from workers.callbacks.sender import Sender

PRIVATE = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "017700000001",
    "0x7f.0.0.0x1",
    "0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "fe80::1",
    "fc00::1",
    "ff02::1",
]


@pytest.mark.parametrize("spelling", PRIVATE)
def test_a_name_that_stands_for_a_private_address_is_not_connected_to(
    open_sender: Callable[..., Sender], spelling: str
) -> None:
    asked = []

    def look_up(host: str, port: int) -> list[tuple[Any, ...]]:
        asked.append(host)
        return list(socket.getaddrinfo(spelling, port, type=socket.SOCK_STREAM))

    sender = open_sender(allow_loopback=False, look_up=look_up)

    attempt = one(sender, "https://receiver.example/")

    assert attempt.error == "address not allowed"
    assert attempt.duration_ms < 1_000
    assert asked == ["receiver.example"]


@pytest.mark.parametrize("spelling", PRIVATE)
def test_no_socket_is_made_for_a_private_address_whatever_the_resolver_said(
    open_sender: Callable[..., Sender], spelling: str
) -> None:
    sender = open_sender(allow_loopback=False)
    for info in socket.getaddrinfo(spelling, 443, type=socket.SOCK_STREAM):
        with pytest.raises(module.AddressRefused):
            sender._socket(info)


@pytest.mark.parametrize("spelling", PRIVATE)
def test_a_private_address_in_the_url_is_refused(
    open_sender: Callable[..., Sender], spelling: str
) -> None:
    host = f"[{spelling}]" if ":" in spelling else spelling

    attempt = one(open_sender(allow_loopback=False), f"https://{host}/")

    assert attempt.error == "address not allowed"


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    open_sender: Callable[..., Sender],
) -> None:
    def look_up(_host: str, port: int) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        for address in ("93.184.216.34", "10.0.0.1"):
            found += socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
        return found

    sender = open_sender(allow_loopback=False, look_up=look_up)

    assert one(sender, "https://receiver.example/").error == "address not allowed"


def test_a_name_that_means_another_address_by_then_gains_nothing(
    open_sender: Callable[..., Sender],
) -> None:
    answers = ["127.0.0.1", "10.0.0.1", "127.0.0.1"]
    asked = []

    def look_up(host: str, port: int) -> list[tuple[Any, ...]]:
        asked.append(host)
        return list(socket.getaddrinfo(answers[len(asked) - 1], port, type=socket.SOCK_STREAM))

    with receiving(lambda *_: Answer(204, (("Connection", "close"),))) as receiver:
        sender = open_sender(look_up=look_up)
        url = f"http://localhost:{receiver.port}/"
        attempts = [one(sender, url) for _ in answers]

    # Each connection asks once, and goes to what was answered and judged.
    assert [attempt.error for attempt in attempts] == [None, "address not allowed", None]
    assert asked == ["localhost"] * 3
    assert len(receiver.received) == 2


def test_in_production_this_machine_is_refused(open_sender: Callable[..., Sender]) -> None:
    with receiving() as receiver:
        sender = open_sender(allow_loopback=False)
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{receiver.port}/"
            assert one(sender, url).error == "address not allowed"

    assert receiver.received == []
    assert receiver.connections == 0

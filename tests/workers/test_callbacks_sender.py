"""What leaves for receivers whom nobody has reason to trust, and what of them comes back."""

import configparser
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest
from standardwebhooks import Webhook

from config.version import VERSION
from domain.signatures import secret_text
from ops.stack.folder import CHECKOUT
from tests.workers.certificates import Authority
from tests.workers.letters import SECRET, letters, one
from tests.workers.receiver import Answer, receiving, server_tls
from workers.callbacks import sender as module
from workers.callbacks.sender import Sender

OLD_SECRET = b"o" * 32


def test_a_letter_arrives_signed_by_each_valid_secret(open_sender: Callable[..., Sender]) -> None:
    with receiving() as receiver:
        [attempt] = (
            open_sender().start("endpoint", receiver.url, letters(), [SECRET, OLD_SECRET]).result()
        )

    [received] = receiver.received
    assert attempt is not None
    assert attempt.accepted
    assert attempt.record().keys() == {"at", "duration_ms", "status"}
    assert len(received.headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OLD_SECRET):
        assert Webhook(secret_text(secret)).verify(received.body.decode(), received.headers)
    assert abs(int(received.headers["webhook-timestamp"]) - time.time()) < 5
    assert received.headers["user-agent"] == f"Tekana/{VERSION}"
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert not received.headers.keys() & {"cookie", "authorization", "referer"}


def test_the_version_that_is_told_is_that_of_the_release() -> None:
    about = configparser.ConfigParser()
    about.read(CHECKOUT / "setup.cfg")

    assert about["metadata"]["version"] == VERSION


def test_cookies_are_not_taken_and_redirects_not_followed(
    open_sender: Callable[..., Sender],
) -> None:
    with receiving() as elsewhere:
        headers = (("Location", elsewhere.url), ("Set-Cookie", "a=b"))
        with receiving(lambda *_: Answer(301, headers)) as receiver:
            sender = open_sender()
            first, second = one(sender, receiver.url), one(sender, receiver.url)

    assert (first.status, second.status) == (301, 301)
    assert not first.accepted
    assert elsewhere.received == []
    assert "cookie" not in receiver.received[1].headers


def test_proxies_of_the_environment_are_not_used(
    open_sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as proxy, receiving() as receiver:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        assert one(open_sender(), receiver.url).accepted

    assert proxy.received == []


def test_of_a_long_answer_no_more_than_64_kib_are_read(open_sender: Callable[..., Sender]) -> None:
    sent = _Endless()
    sender = open_sender()

    attempt = one(sender, sent.url)
    sent.close()

    assert attempt.status == 200
    assert attempt.duration_ms < 5_000
    # What the kernels of both sides hold besides is not ours to bound.
    assert sent.bytes < 20 * 1024 * 1024


def test_five_mib_are_no_reason_to_send_it_again(open_sender: Callable[..., Sender]) -> None:
    with receiving(lambda *_: Answer(200, body=bytes(5 * 1024 * 1024))) as receiver:
        sender = open_sender()
        assert one(sender, receiver.url).accepted
        assert one(sender, receiver.url).accepted

    assert receiver.connections == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Answer(close=True), "connection closed"), (Answer(hang=True), "timeout")],
)
def test_a_receiver_that_does_not_answer_is_told_in_our_words(
    open_sender: Callable[..., Sender],
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    error: str,
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.5)
    with receiving(lambda *_: answer) as receiver:
        attempt = one(open_sender(), receiver.url)

    assert attempt.error == error
    assert attempt.record().keys() == {"at", "duration_ms", "error"}
    assert attempt.duration_ms < 2_000


def test_what_is_no_http_and_what_does_not_listen_are_failures(
    open_sender: Callable[..., Sender],
) -> None:
    sender = open_sender()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def babble() -> None:
            connection, _ = server.accept()
            connection.recv(65_536)
            connection.sendall(b"hello, who is there?\r\n\r\n")
            connection.close()

        threading.Thread(target=babble).start()
        assert one(sender, f"http://127.0.0.1:{port}/").error == "no HTTP"
    assert one(sender, f"http://127.0.0.1:{port}/").error == "no connection"
    assert one(sender, "https://no-such-name.invalid/").error == "name not found"


def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure(
    open_sender: Callable[..., Sender],
) -> None:
    sender = open_sender()
    with _ClosesBehindEachAnswer() as receiver:
        for _ in range(20):
            assert one(sender, receiver.url).status == 204


def test_a_certificate_is_verified_for_the_name_in_the_url(
    open_sender: Callable[..., Sender], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    trusting = open_sender(ca_file=str(authority.file))
    asked_for: list[str | None] = []
    tls = server_tls(authority.certificate("localhost"))
    tls.sni_callback = lambda _socket, name, _context: asked_for.append(name)

    with receiving(tls=tls) as receiver:
        assert one(trusting, receiver.url).accepted
        assert one(open_sender(), receiver.url).error == "certificate not valid"
    with receiving(tls=server_tls(authority.certificate("elsewhere.example"))) as other:
        assert one(trusting, other.url).error == "certificate not valid"

    assert asked_for[0] == "localhost"
    assert receiver.received[0].headers["host"] == f"localhost:{receiver.port}"
    assert other.received == []


class _Endless:
    """Answers 200 with a body that does not end."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self.bytes = 0
        self._thread = threading.Thread(target=self._pour)
        self._thread.start()

    def close(self) -> None:
        self._thread.join()
        self._server.close()

    def _pour(self) -> None:
        connection, _ = self._server.accept()
        connection.settimeout(20)
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                self.bytes += connection.send(bytes(65_536))
        except OSError:
            connection.close()


def test_a_receiver_that_never_comes_to_its_answer_is_hung_up_on(
    open_sender: Callable[..., Sender],
) -> None:
    """It may say `100 Continue` as often as it likes, and all deliveries share one loop."""
    with _Continues() as endless, receiving() as honest:
        sender = open_sender()
        flooded = sender.start("endless", endless.url, letters(40), [SECRET])
        [attempt] = sender.start("honest", honest.url, letters(1), [SECRET]).result(5)
        given_up = flooded.result(30)

    assert attempt is not None
    assert attempt.accepted
    assert attempt.duration_ms < 2_000
    assert {each.error for each in given_up if each is not None} == {"connection closed"}
    assert 0 < endless.most_bytes < 64 * module.ANSWER_BYTES_MOST


class _Server(ABC):
    """A receiver made by hand: it takes one connection after the other until the block ends."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self._over = False
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        socket.create_connection(self._server.getsockname()).close()
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        while not self._over:
            connection, _ = self._server.accept()
            self._take(connection)

    @abstractmethod
    def _take(self, connection: socket.socket) -> None:
        """Answer on a connection, and close it."""


class _Continues(_Server):
    """Answers everything with interim answers, for ever."""

    most_bytes = 0

    def _take(self, connection: socket.socket) -> None:
        threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        said = 0
        try:
            while not self._over:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
                said += 25_000
        except OSError:
            self.most_bytes = max(self.most_bytes, said)
        finally:
            connection.close()


class _ClosesBehindEachAnswer(_Server):
    """Promises to keep the connection, and closes it while nobody looks."""

    def _take(self, connection: socket.socket) -> None:
        if connection.recv(65_536):
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        connection.close()

"""Each way to check a callback that `docs/callbacks.md` shows, and the sample receiver."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from domain.signatures import secret_text, sign, signed_headers
from ops.stack.folder import CHECKOUT
from ops.stack.ports import accepts, free_port
from tests.support import wait_until

EXAMPLES = CHECKOUT / "examples" / "callbacks"
NODE = Path(sys.executable).with_name("node")
"""That of the requirements, whichever the machine has."""

VERIFIERS: dict[str, tuple[str | Path, ...]] = {
    "Python": (sys.executable, EXAMPLES / "verify.py"),
    "Node": (NODE, EXAMPLES / "verify.mjs"),
    "shell": (EXAMPLES / "verify.sh",),
}

SECRET, OTHER_SECRET = bytes(range(32)), bytes(range(32, 64))
EVENT_ID = "d7b11db0-4a6f-8af9-a51e-e8dca76d294c"
DOCUMENT = {
    "version": 1,
    "id": EVENT_ID,
    "type": "instruction.succeeded",
    "timestamp": "2026-11-24T10:00:00.000Z",
    "data": {"id": "0a000000-0000-8000-8000-000000000001", "data": {"reference": "ünï ✓ %s $a"}},
}
BODY = json.dumps(DOCUMENT, ensure_ascii=False).encode()


@pytest.fixture(params=VERIFIERS)
def verifier(request: pytest.FixtureRequest) -> tuple[str | Path, ...]:
    return VERIFIERS[request.param]


def verdict(
    verifier: tuple[str | Path, ...],
    signature: str | None = None,
    *,
    event_id: str = EVENT_ID,
    timestamp: str | None = None,
    body: bytes = BODY,
    secret: str = secret_text(SECRET),
) -> str:
    now_s = int(time.time())
    if signature is None:
        signature = sign(SECRET, EVENT_ID, now_s, BODY)
    done = subprocess.run(
        [*verifier, event_id, str(now_s) if timestamp is None else timestamp, signature],
        input=body,
        env={**os.environ, "WEBHOOK_SECRET": secret},
        capture_output=True,
        check=False,
    )
    said = (done.stdout if done.returncode == 0 else done.stderr).decode().strip()
    assert (done.returncode == 0) == (said == "verified")
    assert "Traceback" not in said
    return said.partition(":")[0]


def test_what_we_sign_is_verified(verifier):
    assert verdict(verifier) == "verified"


def test_what_the_package_signs_is_verified(verifier):
    now = datetime.now(UTC)
    signature = Webhook(SECRET).sign(EVENT_ID, now, BODY.decode())

    assert verdict(verifier, signature, timestamp=str(int(now.timestamp()))) == "verified"


@pytest.mark.parametrize("body", [b"", b"{}\n\n", b"\x00\xff\r\n", b"x" * 200_000])
def test_a_body_is_taken_byte_by_byte(verifier, body):
    now_s = int(time.time())
    signature = sign(SECRET, EVENT_ID, now_s, body)

    assert verdict(verifier, signature, body=body, timestamp=str(now_s)) == "verified"
    assert verdict(verifier, signature, body=body + b"\n", timestamp=str(now_s)) == "refused"


def test_one_of_two_signatures_is_enough_while_a_secret_is_rotated(verifier):
    now_s = int(time.time())
    signed = signed_headers([OTHER_SECRET, SECRET], EVENT_ID, now_s, BODY)

    for secret in (SECRET, OTHER_SECRET):
        said = verdict(
            verifier,
            signed["webhook-signature"],
            timestamp=signed["webhook-timestamp"],
            secret=secret_text(secret),
        )
        assert said == "verified"


@pytest.mark.parametrize(
    "changed",
    [
        {"body": BODY.replace(b"1", b"2")},
        {"body": b""},
        {"event_id": EVENT_ID.replace("d", "e")},
        {"timestamp": str(int(time.time()) - 8)},
        {"timestamp": ""},
        {"timestamp": "-1"},
        {"timestamp": "1e9"},
        {"timestamp": "9" * 400},
        {"secret": secret_text(OTHER_SECRET)},
        {"secret": ""},
        {"secret": "whsec_"},
        {"secret": "whsec_AAAA"},
        {"signature": ""},
        {"signature": "v1,"},
        {"signature": "v1,* *"},
        {"signature": "v1,é"},
    ],
)
def test_whatever_does_not_fit_is_refused(verifier, changed):
    assert verdict(verifier, **changed) == "refused"


def test_another_version_of_signatures_and_an_empty_key_are_refused(verifier):
    now_s = int(time.time())
    of_another_version = sign(SECRET, EVENT_ID, now_s, BODY).replace("v1", "v2")
    by_nothing = sign(b"", EVENT_ID, now_s, BODY)

    assert verdict(verifier, of_another_version, timestamp=str(now_s)) == "refused"
    assert verdict(verifier, by_nothing, timestamp=str(now_s), secret="whsec_") == "refused"


@pytest.mark.parametrize("age_s", [-310, 301])
def test_a_good_signature_of_another_time_is_refused(verifier, age_s):
    sent_s = int(time.time()) - age_s
    signature = sign(SECRET, EVENT_ID, sent_s, BODY)

    assert verdict(verifier, signature, timestamp=str(sent_s)) == "refused"


@dataclass
class Running:
    """The sample receiver as a process, and what it printed."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    EXAMPLES / "receiver.py",
                    str(self.port),
                    self.folder / "received.db",
                ],
                env={**os.environ, "WEBHOOK_SECRET": secret_text(SECRET)},
                stdout=said,
                stderr=said,
            )
        wait_until(lambda: accepts(self.port))

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "said").read_text().splitlines()]

    def post(self, body: bytes = BODY, *, age_s: int = 0, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        signed = signed_headers([SECRET], EVENT_ID, int(time.time()) - age_s, BODY)
        connection.request("POST", "/", body, {**signed, **headers})
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    running.start()
    yield running
    running.stop()


def test_the_receiver_is_short_and_needs_nothing_that_python_lacks():
    source = (EXAMPLES / "receiver.py").read_text()
    imported = {line.split()[1] for line in source.splitlines() if line.startswith("import ")}

    assert len(source.splitlines()) <= 60
    assert imported <= sys.stdlib_module_names


def test_the_receiver_takes_an_event_and_prints_it(receiver):
    assert receiver.post() == 204

    [line] = receiver.lines()
    assert line.pop("new") is True
    assert abs(line.pop("received_at") - time.time()) < 60
    assert line == DOCUMENT


def test_a_replay_is_answered_and_not_acted_on_even_after_a_restart(receiver):
    statuses = [receiver.post(), receiver.post()]
    receiver.stop()
    receiver.start()
    statuses.append(receiver.post())

    assert statuses == [204, 204, 204]
    assert [line["new"] for line in receiver.lines()] == [True, False, False]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"body": BODY + b" "}, 401),
        ({"age_s": 301}, 401),
        ({"webhook-signature": "v1,AAAA"}, 401),
        ({"webhook-id": "another"}, 401),
        ({"Content-Length": "1048577"}, 413),
        ({"Content-Length": "-1"}, 413),
    ],
)
def test_what_is_not_ours_is_refused_and_the_next_one_taken(receiver, sent, status):
    assert receiver.post(**sent) == status
    assert receiver.post() == 204

    assert [line["new"] for line in receiver.lines() if "refused" not in line] == [True]


def test_a_request_without_any_signature_is_refused(receiver):
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)
    connection.request("POST", "/", BODY)

    assert connection.getresponse().status == 401
    connection.close()

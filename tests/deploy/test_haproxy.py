"""HAProxy's configuration: the real HAProxy accepts it, and it agrees with the API behind."""

import json
import re
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import requests

from api.bodies import BATCH_BYTES_MAX
from api.headers import WAIT_S_MAX
from api.problems import MEDIA_TYPE
from config.settings import Settings
from domain.problems import KINDS
from ops.stack.ports import HOST
from tests.deploy import tools
from tests.deploy.compose_file import services
from tests.deploy.deployed import HAPROXY_CFG, Deployed

_TEXT = HAPROXY_CFG.read_text()


def test_haproxy_accepts_it_without_a_warning(deployed: Deployed) -> None:
    given = services()["haproxy"]["environment"] | {
        "CERTIFICATE": str(deployed.folder / "haproxy.pem"),
        "API_1": f"{HOST}:8081",
        "API_2": f"{HOST}:8082",
        "RABBITMQ": f"{HOST}:5672",
    }

    done = subprocess.run(
        [tools.haproxy(), "-c", "-f", HAPROXY_CFG],
        env=given,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr + done.stdout


def test_it_agrees_with_the_api() -> None:
    assert seconds("timeout server") > WAIT_S_MAX
    assert seconds("hard-stop-after") > seconds("timeout server")
    assert f"content-length) gt {BATCH_BYTES_MAX} " in _TEXT
    assert f" maxconn {Settings.model_fields['api_threads'].default} " in _TEXT


@pytest.mark.parametrize("file", sorted((HAPROXY_CFG.parent / "problems").iterdir()))
def test_its_problems_are_those_of_the_api(file: Path) -> None:
    problem = json.loads(file.read_text())
    kind = KINDS[file.stem]

    assert problem == {
        "type": f"urn:tekana:problem:{file.stem}",
        "title": kind.title,
        "status": kind.status,
        "code": file.stem,
        "request_id": "%[unique-id]",
    }


def test_a_body_that_is_too_large_is_refused_at_the_door(deployed: Deployed) -> None:
    head = (
        "POST /v1/batches HTTP/1.1\r\nHost: tekana\r\n"
        f"Content-Length: {BATCH_BYTES_MAX + 1}\r\n\r\n"
    )
    # One buffer of HAProxy's and one record of TLS: it is answered after that, and whatever came
    # later could meet a closed door.
    status, headers, body = exchanged(deployed, head.ljust(16_384))

    assert status == 413
    assert headers["content-type"] == MEDIA_TYPE
    assert json.loads(body)["request_id"] == headers["x-request-id"]


def test_what_the_api_answers_passes_as_it_is(deployed: Deployed) -> None:
    answer = deployed.session().get(f"{deployed.url}/v1/wallets/nonsense", timeout=5)

    assert answer.status_code == 404
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    assert "max-age" in answer.headers["Strict-Transport-Security"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_nobody_is_served_without_tls(deployed: Deployed) -> None:
    with pytest.raises(requests.RequestException):
        requests.get(f"http://{HOST}:{deployed.ports['haproxy']}/v1/health/live", timeout=5)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(deployed.authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((HOST, deployed.ports["haproxy"]), timeout=5) as plain,
        pytest.raises(OSError, match=r"(?i)ssl|tls|protocol"),
    ):
        old.wrap_socket(plain, server_hostname=HOST)


def exchanged(deployed: Deployed, request: str) -> tuple[int, dict[str, str], str]:
    """One request as bytes, and the answer's status, headers and body."""
    trusting = ssl.create_default_context(cafile=str(deployed.authority))
    address = (HOST, deployed.ports["haproxy"])
    with (
        socket.create_connection(address, timeout=5) as plain,
        trusting.wrap_socket(plain, server_hostname=HOST) as secure,
    ):
        secure.sendall(request.encode())
        answer = b""
        while part := secure.recv(65_536):
            answer += part
    head, _, body = answer.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split(" ")[1]), headers, body


def seconds(setting: str) -> int:
    """The value of a setting that is given in seconds."""
    found = re.search(rf"^\s*{setting} (\d+)s$", _TEXT, re.MULTILINE)
    assert found is not None
    return int(found[1])

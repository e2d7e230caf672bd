"""Callback endpoints in the deployed system, under the rights that its processes have."""

from datetime import UTC, datetime

import requests

from tests.deliveries import add_delivery
from tests.deploy.deployed import Deployed

_WHY = ("--reason", "test")


def _ask(deployed: Deployed, method: str, path: str, body: object = None) -> requests.Response:
    url = f"{deployed.url}/v1/callback-endpoints{path}"
    with deployed.session() as session:
        return session.request(method, url, json=body, timeout=10)


def test_a_client_keeps_its_endpoints_and_an_operator_their_deliveries(deployed: Deployed) -> None:
    made = _ask(deployed, "POST", "", {"url": "https://hooks.example.com/"})
    assert made.status_code == 201, made.text
    endpoint_id = made.json()["id"]
    owner = deployed.as_role("tekana_owner")
    event_id = add_delivery(owner, endpoint_id, datetime.now(UTC))
    owner.dispose()

    answers = [
        _ask(deployed, "PATCH", f"/{endpoint_id}", {"enabled": False}),
        _ask(deployed, "GET", f"/{endpoint_id}/deliveries"),
        _ask(deployed, "POST", f"/{endpoint_id}/deliveries/{event_id}/redeliver"),
        _ask(deployed, "POST", f"/{endpoint_id}/rotate-secret"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 202, 200]
    assert endpoint_id in deployed.operate("callbacks", "list", "--client", "shop")
    assert event_id in deployed.operate("callbacks", "deliveries", endpoint_id)
    again = deployed.operate("callbacks", "redeliver", endpoint_id, "--event", event_id, *_WHY)
    assert "1 delivery is pending again." in again
    rotated = deployed.operate("callbacks", "rotate-key", *_WHY)
    assert "Every secret is encrypted with the key test-1 now." in rotated
    assert _ask(deployed, "DELETE", f"/{endpoint_id}").status_code == 204
    assert endpoint_id not in deployed.operate("callbacks", "list")

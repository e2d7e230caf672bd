"""The deployed system does its job, each process with its own rights and no more."""

import uuid

from tests.deploy.deployed import Deployed


def test_money_moves_through_the_front_door(deployed: Deployed) -> None:
    session = deployed.session()
    body = {"name": "Ama", "phone": "+233200000001", "country": "GH", "currencies": ["KES"]}

    opened = session.post(
        f"{deployed.url}/v1/customers",
        json=body,
        headers={"Idempotency-Key": str(uuid.uuid4()), "Prefer": "wait=10"},
        timeout=15,
    )

    assert opened.status_code == 200, opened.text
    print(opened.json())

"""What holds somebody's words says nothing of them in a repr, and so in no log and no error."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from api.finding import Found
from api.intake import Submission
from domain.instructions import encode
from producers.messages import Outgoing
from storage.outcomes import Noted, Put
from storage.parked import Parked
from tests.bookkeeping import open_customer
from workers.delivery import Delivery
from workers.partners.messages import Message

ANN = open_customer(1, "Ann Secret", email="ann@secret.org")

HOLDERS: list[Callable[[bytes], object]] = [
    lambda body: Outgoing("e", "k", body, "id"),
    lambda body: Delivery(1, body, body, 0.0),
    lambda body: Message(1, body, None, {"correlation_id": body.decode()}),
    lambda body: Parked(
        1, 0, None, body, {"said": str(body)}, "why", datetime.now(UTC), None, None
    ),
    lambda body: Submission(ANN, "queued", body, replayed=False),
    lambda body: Found("queued", body),
    lambda body: Noted(1, "f", "queued", body),
    lambda body: Put("id", 1, "f", "queued", body),
]


@pytest.mark.parametrize("holding", HOLDERS)
def test_a_repr_tells_nothing_of_a_person(holding: Callable[[bytes], object]) -> None:
    shown = repr(holding(encode(ANN)))

    assert shown
    assert "ecret" not in shown
    assert "+254" not in shown

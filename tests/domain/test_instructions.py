"""Decoding is validation, at every door the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.fields import timestamp_text
from domain.instructions import (
    DATA,
    SCOPES,
    CustomerOpen,
    Undecodable,
    decode,
    encode,
    instruct,
)
from tests.bookkeeping import NOW, deposit, open_customer, open_wallet, transfer, withdrawal

WALLET = "aaaaaaaa-0000-0000-0000-000000000001"
OTHER = "aaaaaaaa-0000-0000-0000-000000000002"
MONEY: dict[str, Any] = {
    "source_wallet_id": WALLET,
    "destination_wallet_id": OTHER,
    "amount": 250,
    "currency": "KES",
}
OPENED = ("customer.open", timestamp_text(NOW))
PERSON: dict[str, Any] = {"name": "Ann", "phone": "+254700000001", "country": "KE"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 0},
        {"amount": -1},
        {"amount": 1.0},
        {"amount": 1.5},
        {"amount": True},
        {"amount": "1"},
        {"amount": None},
        {"amount": 10**15 + 1},
        {"amount": 2**63},
        {"amount": float("inf")},
        {"currency": "kes"},
        {"currency": "ZZZ"},
        {"currency": "XAU"},
        {"currency": 404},
        {"source_wallet_id": "nonsense"},
        {"source_wallet_id": WALLET + "\n"},
        {"source_wallet_id": 5},
        {"reference": ""},
        {"reference": "x" * 141},
        {"reference": "nul\x00"},
        {"reference": "\ud800"},
        {"metadata": {"a": 1}},
        {"metadata": {"": "x"}},
        {"metadata": {"\ud800": "x"}},
        {"metadata": {str(n): "x" for n in range(17)}},
        {"metadata": {"a": "ü" * 1024}},
        {"metadata": []},
        {"expires_at": 1_700_000_000},
        {"expires_at": "2026-11-23"},
        {"expires_at": "2026-11-23T10:00:00"},
        {"expires_at": "2026-02-30T10:00:00Z"},
        {"expires_at": "0001-01-01T00:00:00+23:00"},
        {"unknown": 1},
    ],
)
def test_a_transfer_with_anything_wrong_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        DATA["transfer"].model_validate({**MONEY, **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"phone": None},
        {"phone": "0700000001"},
        {"phone": "+0700000001"},
        {"email": "nobody"},
        {"email": "a@b\n"},
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 201},
        {"country": "ke"},
        {"country": "XX"},
        {"currencies": []},
        {"currencies": ["KES"] * 21},
        {"currencies": "KES"},
        {"customer_id": "1"},
        {"status": "open"},
    ],
)
def test_a_customer_with_anything_wrong_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        DATA["customer.open"].model_validate({**PERSON, **wrong})


def test_ids_are_kept_in_lower_case_and_times_in_utc_to_the_millisecond():
    data = DATA["transfer"].model_validate(
        {
            **MONEY,
            "source_wallet_id": WALLET.upper(),
            "expires_at": "2026-11-23T13:00:00.123456789+03:00",
        }
    )

    assert data.given()["source_wallet_id"] == WALLET
    assert data.given()["expires_at"] == "2026-11-23T10:00:00.123Z"


def test_an_instruction_survives_its_way_through_the_queue():
    for instruction in (
        transfer(1, "ann", "ben", 1, reference="ü \\ \t", metadata={"a": "b"}),
        deposit(2, "ann", 1, expires_at="2026-11-23T10:00:00Z"),
        withdrawal(3, "ann", 1),
        open_customer(4, "ann", currencies=["KES", "KES"], email="a@example.org"),
        open_wallet(5, "ann", "ann"),
    ):
        assert decode(encode(instruction)) == instruction
        assert decode(encode(instruction)).id == instruction.id


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_of_any_origin_are_refused_without_harm(body: bytes):
    with pytest.raises(Undecodable):
        decode(body)


@pytest.mark.parametrize(
    ("found", "put"),
    [
        (b'"version":1', b'"version":2'),
        (b'"client_id":1', b'"client_id":0'),
        (b'"client_id":1', b'"client_id":"1"'),
        (b'"type":"transfer"', b'"type":"deposit"'),
        (b'"type":"transfer"', b'"type":"hold"'),
        (b'"type":"transfer"', b'"type":{"transfer":1}'),
        (b'"amount":1', b'"amount":1e400'),
        (b'"currency"', b'"extra":1,"currency"'),
        (b'"fingerprint":"', b'"fingerprint":"x'),
    ],
)
def test_an_envelope_with_anything_wrong_is_undecodable(found: bytes, put: bytes):
    body = encode(transfer(1, "ann", "ben", 1))
    assert found in body

    with pytest.raises(Undecodable):
        decode(body.replace(found, put))


def test_nobody_chooses_an_id_that_could_be_derived_for_somebody_else():
    """Ids are derived from a client and a key, and keys may be guessed."""
    opening = instruct(1, "customer-1", DATA["customer.open"].model_validate(PERSON), *OPENED)
    assert isinstance(opening, CustomerOpen)

    for type_, data in (
        ("customer.open", {**PERSON, "customer_id": opening.customer_id}),
        (
            "wallet.open",
            {"wallet_id": opening.customer_id, "customer_id": OTHER, "currency": "KES"},
        ),
    ):
        with pytest.raises(ValidationError, match="version 8"):
            DATA[type_].model_validate(data)
    DATA["wallet.open"].model_validate({"customer_id": opening.customer_id, "currency": "KES"})


@pytest.mark.parametrize(
    ("found", "put", "reason"),
    [
        (b'"key":"x"', b'"secret":["secret"]', "transfer.data.metadata.…: string_type"),
        (b'"currency"', b'"secret":1,"currency"', "transfer.data.…: extra_forbidden"),
        (b'"currency"', b'"a\\u0000b":1,"currency"', "transfer.data.…: extra_forbidden"),
        (b'"type":"transfer"', b'"type":"secret"', "message: union_tag_invalid"),
        (b'"type":"transfer"', b'"type":"\\u0000"', "message: union_tag_invalid"),
        (b'"currency":"KES"', b'"currency":"secret"', "transfer.data.currency: value_error"),
        (b'"amount":1', b'"amount":secret', "message: json_invalid"),
    ],
)
def test_the_reason_repeats_nothing_of_the_message(found: bytes, put: bytes, reason: str):
    body = encode(transfer(1, "ann", "ben", 1, metadata={"key": "x"}))
    assert found in body

    with pytest.raises(Undecodable) as refused:
        decode(body.replace(found, put))

    assert str(refused.value) == reason


def test_a_repr_tells_nothing_of_a_person():
    shown = repr(open_customer(1, "Ann Secret", email="ann@secret.org"))
    shown += repr(transfer(1, "ann", "ben", 1, reference="for secret", metadata={"secret": "x"}))

    assert "ecret" not in shown
    assert "+254" not in shown


def test_every_type_has_a_scope():
    assert SCOPES.keys() == DATA.keys()

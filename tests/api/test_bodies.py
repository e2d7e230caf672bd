"""Bodies that are not what they should be: the contract's problem, and nothing published."""

import json
import uuid
from typing import Any

import pytest

from tests.api.conftest import Door, problem, transfer_body


@pytest.fixture(scope="module")
def door(module_door: Door) -> Door:
    return module_door


def raw(**changes: str) -> bytes:
    """A transfer's body with some values as raw JSON text."""
    body = {name: json.dumps(value) for name, value in transfer_body().items()} | changes
    return ("{" + ",".join(f'"{name}":{value}' for name, value in body.items()) + "}").encode()


@pytest.mark.parametrize(
    "amount",
    ["0", "-1", "1.0", "1.5", "1e3", "1e999", "true", "null", '"100"', "[1]", "{}",
     str(10**15 + 1), str(2**63), str(2**64), "1" * 4000],
)  # fmt: skip
def test_an_amount_is_a_positive_integer_within_bounds(door: Door, amount: str) -> None:
    document = problem(door.post("/v1/transfers", raw(amount=amount)), 422, "invalid_body")

    assert [error["pointer"] for error in document["errors"]] == ["/amount"]
    assert door.published() == []


@pytest.mark.parametrize("currency", ['"kes"', '"ZZZ"', '"XAU"', '""', "404", "null", '"KES "'])
def test_a_currency_is_an_iso_4217_code_in_use(door: Door, currency: str) -> None:
    document = problem(door.post("/v1/transfers", raw(currency=currency)), 422, "invalid_body")

    assert [error["pointer"] for error in document["errors"]] == ["/currency"]
    assert door.published() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reference", r'"a\u0000b"'),
        ("reference", r'"a\ud800b"'),
        ("reference", r'"\udc00"'),
        ("reference", '""'),
        ("reference", json.dumps("x" * 141)),
        ("metadata", r'{"a":"\u0000"}'),
        ("metadata", r'{"\ud800":"a"}'),
        ("metadata", r'{"a\u0000":"a"}'),
        ("metadata", r'{"":"a"}'),
        ("metadata", r'{"a":1}'),
        ("metadata", json.dumps({"a": "x" * 2048})),
        ("metadata", json.dumps({str(n): "x" for n in range(17)})),
        ("metadata", "[]"),
        ("expires_at", "1790000000"),
        ("expires_at", '"2026-11-23"'),
        ("expires_at", '"2026-02-30T00:00:00Z"'),
        ("source_wallet_id", '"1"'),
        ("source_wallet_id", "7"),
    ],
)
def test_every_other_field_has_its_type_and_bounds(door: Door, field: str, value: str) -> None:
    document = problem(door.post("/v1/transfers", raw(**{field: value})), 422, "invalid_body")

    assert all(error["pointer"].startswith(f"/{field}") for error in document["errors"])
    assert door.published() == []


@pytest.mark.parametrize("name", ["note", "client_id", "a/b~c", "Ünknown", "x" * 1000, "\ud800"])
def test_a_field_that_is_not_known_is_refused(door: Door, name: str) -> None:
    body = raw()[:-1] + f",{json.dumps(name)}:1}}".encode()

    document = problem(door.post("/v1/transfers", body), 422, "invalid_body")

    # A name that is not plain is not repeated.
    plain = {"note": "/note", "client_id": "/client_id", "a/b~c": "/a~1b~0c"}
    assert [error["pointer"] for error in document["errors"]] == [plain.get(name, "")]
    assert door.published() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"nonsense",
        b'{"amount":NaN}',
        b'{"amount":Infinity}',
        b'{"amount":-Infinity}',
        b'{"amount":1,"amount":1}',
        b'{"metadata":{"a":"1","a":"1"}}',
        b'{"amount":01}',
        b"{}{}",
        b'{"reference":"\xff"}',
        b"\xef\xbb\xbf{}",
        '{"amount":1}'.encode("utf-16"),
        b'{"amount":' + b"1" * 5000 + b"}",
        b"[" * 30_000,
        b'{"a":' * 10_000,
        b"[" * 32_000 + b"]" * 32_000,
    ],
)
def test_what_is_not_one_strict_json_text_is_malformed(door: Door, body: bytes) -> None:
    problem(door.post("/v1/transfers", body), 400, "malformed_json")

    assert door.published() == []


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"text"', b"true", b"[{}]"])
def test_a_body_is_an_object(door: Door, body: bytes) -> None:
    problem(door.post("/v1/transfers", body), 422, "invalid_body")
    problem(door.post("/v1/batches", body), 422, "invalid_body")

    assert door.published() == []


def test_nesting_of_100000_is_refused_even_where_so_much_is_allowed(door: Door) -> None:
    body = b'{"items":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    problem(door.post("/v1/batches", body), 400, "malformed_json")

    assert door.published() == []


@pytest.mark.parametrize(
    ("path", "limit"), [("/v1/transfers", 64 * 1024), ("/v1/batches", 1024 * 1024)]
)
def test_a_body_has_a_largest_size(door: Door, path: str, limit: int) -> None:
    problem(door.post(path, b" " * limit), 400, "malformed_json")
    problem(door.post(path, b" " * (limit + 1)), 413, "body_too_large")

    assert door.published() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": None},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
)
def test_a_body_is_json_and_not_compressed(door: Door, headers: dict[str, str | None]) -> None:
    response = door.post("/v1/transfers", transfer_body(), headers=headers)

    problem(response, 415, "unsupported_media_type")
    assert door.published() == []


def test_a_charset_or_another_case_does_not_make_it_other_than_json(door: Door) -> None:
    headers = {"Content-Type": "Application/JSON; charset=UTF-8"}

    assert door.post("/v1/transfers", transfer_body(), headers=headers).status_code == 202
    assert len(door.published()) == 1


@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        ("/v1/customers", {"name": "A", "country": "RW"}, {""}),
        ("/v1/customers", {"name": " ", "country": "RW", "phone": "+250788123456"}, {"/name"}),
        ("/v1/customers", {"name": "A", "country": "rw", "email": "a@b"}, {"/country"}),
        ("/v1/customers", {"name": "A", "country": "RW", "phone": "0788"}, {"/phone"}),
        ("/v1/customers", {"name": "A", "country": "RW", "email": "ab"}, {"/email"}),
        ("/v1/wallets", {"currency": "KES"}, {"/customer_id"}),
        ("/v1/deposits", {}, {"/wallet_id", "/amount", "/currency"}),
        ("/v1/withdrawals", {}, {"/wallet_id", "/amount", "/currency"}),
    ],
)
def test_each_type_has_a_body_of_its_own(
    door: Door, path: str, body: dict[str, Any], pointers: set[str]
) -> None:
    document = problem(door.post(path, body), 422, "invalid_body")

    assert {error["pointer"] for error in document["errors"]} == pointers
    assert door.published() == []


def test_a_problem_never_repeats_a_value_that_was_sent(door: Door) -> None:
    secret = f"secret-{uuid.uuid4().hex}"
    bodies: list[Any] = [
        raw(reference=json.dumps(secret + "x" * 200)),
        raw(source_wallet_id=json.dumps(secret)),
        raw(currency=json.dumps(secret)),
        raw(amount=json.dumps(secret)),
        raw(metadata=json.dumps({"a": [secret]})),
        raw(expires_at=json.dumps(secret)),
        f'{{"{secret}'.encode(),
        f'{{"a":"{secret}","a":1}}'.encode(),
    ]
    for body in bodies:
        assert secret not in door.post("/v1/transfers", body).get_data(as_text=True)


def test_many_errors_are_cut_off(door: Door) -> None:
    body = json.dumps({f"field{n}": n for n in range(2000)}).encode()

    document = problem(door.post("/v1/transfers", body), 422, "invalid_body")

    assert len(document["errors"]) == 20

"""JSON as strictly as money wants it."""

import pytest

from domain.decoding import MalformedJson, decode_json


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b'{"a": 1, "a": 1}',
        b'{"x": {"a": 1, "a": 2}}',
        b"NaN",
        b'{"amount": Infinity}',
        b'{"amount": -Infinity}',
        b"\xff\xfe",
        '{"a": 1}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"1" * 5000,
        b'{"a": "\x00"}',
        b"{} {}",
    ],
)
def test_what_is_no_strict_json_is_refused(body: bytes):
    with pytest.raises(MalformedJson) as refused:
        decode_json(body)

    assert "1111" not in str(refused.value)


def test_what_is_strict_json_is_decoded():
    assert decode_json('{"amount": 250, "reference": "ü"}'.encode()) == {
        "amount": 250,
        "reference": "ü",
    }

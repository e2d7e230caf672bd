"""Our signatures and those of the `standardwebhooks` package are the same."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from domain.signatures import (
    ID_HEADER,
    SECRET_BYTES,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    secret_text,
    sign,
    signed_headers,
)

SECRET = bytes(range(SECRET_BYTES))
OTHER_SECRET = bytes(SECRET_BYTES)
EVENT_ID = "d7b11db0-4a6f-8af9-a51e-e8dca76d294c"
BODY = '{"version":1,"data":{"reference":"ünï ✓"}}'.encode()


def headers(*secrets: bytes, body: bytes = BODY, age_s: int = 0) -> dict[str, str]:
    return signed_headers(secrets or (SECRET,), EVENT_ID, int(time.time()) - age_s, body)


def verify(body: bytes, given: dict[str, str], secret: bytes = SECRET) -> None:
    Webhook(secret_text(secret)).verify(body, given, json_parse=False)


def test_a_signature_never_changes():
    assert secret_text(SECRET) == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert (
        sign(SECRET, EVENT_ID, 1_764_000_000, b"{}")
        == "v1,2+T9Hgejxyo8BzsAWOtDn9uGjEymqaLR9Q+FyiIMQcg="
    )


def test_the_package_verifies_what_we_sign():
    verify(BODY, headers())


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.binary(min_size=24, max_size=64), text, st.integers(0, 2**33))
def test_we_sign_as_the_package_signs(secret, body, timestamp_s):
    at = datetime.fromtimestamp(timestamp_s, UTC)  # It replaces a zone, and converts none.

    theirs = Webhook(secret).sign(EVENT_ID, at, body)

    assert sign(secret, EVENT_ID, timestamp_s, body.encode()) == theirs


def test_while_a_secret_is_rotated_the_old_and_the_new_both_verify():
    signed = headers(SECRET, OTHER_SECRET)

    verify(BODY, signed, SECRET)
    verify(BODY, signed, OTHER_SECRET)


@pytest.mark.parametrize(
    "changed",
    [
        {ID_HEADER: EVENT_ID.replace("d", "e")},
        {TIMESTAMP_HEADER: str(int(time.time()) + 7)},
        {SIGNATURE_HEADER: "v1,"},
        {SIGNATURE_HEADER: "v2,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="},
    ],
)
def test_a_changed_header_is_refused(changed):
    with pytest.raises(WebhookVerificationError):
        verify(BODY, headers() | changed)


def test_a_tampered_body_and_another_secret_are_refused():
    with pytest.raises(WebhookVerificationError, match="No matching"):
        verify(BODY.replace(b"1", b"2"), headers())
    with pytest.raises(WebhookVerificationError, match="No matching"):
        verify(BODY, headers(), OTHER_SECRET)


@pytest.mark.parametrize(("age_s", "complaint"), [(301, "too old"), (-302, "too new")])
def test_a_signature_of_another_time_is_refused(age_s, complaint):
    with pytest.raises(WebhookVerificationError, match=complaint):
        verify(BODY, headers(age_s=age_s))

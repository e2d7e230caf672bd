"""Callback endpoints: made, changed and looked at by their own client, with a secret shown once."""

import base64
import json
import logging
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from api.callback_bodies import EVERY_TYPE
from storage.endpoints import ENDPOINTS_MAX
from tests.api.conftest import Door, Doors, problem
from tests.api.endpoints import ALL_EVENTS, NOW, PATH, URL, add, added, change, read
from tests.deliveries import add_delivery


def test_an_endpoint_is_added_and_its_secret_shown_once(door: Door) -> None:
    response = add(door, events=["entry.posted", "instruction.parked"])

    assert response.status_code == 201
    assert response.json is not None
    made = dict(response.json)
    secret = made.pop("secret")
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert response.headers["Location"] == f"{PATH}/{made['id']}"
    assert response.headers["Cache-Control"] == "no-store"
    assert read(door, response.headers["Location"]) == made
    assert read(door, PATH) == {"data": [made], "next_cursor": None}
    assert made.pop("created_at").endswith("Z")
    assert uuid.UUID(made.pop("id"))
    assert made == {
        "url": URL,
        "events": ["instruction.parked", "entry.posted"],
        "enabled": True,
        "failing_since": None,
        "disabled_at": None,
        "disabled_reason": None,
    }


def test_without_events_it_is_told_of_all_of_them(door: Door) -> None:
    assert added(door)["events"] == ALL_EVENTS
    assert added(door, events=None)["events"] == ALL_EVENTS
    assert added(door, events=ALL_EVENTS * 2)["events"] == ALL_EVENTS
    assert ALL_EVENTS == EVERY_TYPE


BAD_URLS = [
    "http://hooks.example.com/", "ftp://hooks.example.com/", "hooks.example.com", "", "https://",
    "https://user:password@hooks.example.com/", "https://user@hooks.example.com/",
    "https://hooks.example.com/#part", "https://hooks.example.com:8443/",
    "https://127.0.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/",
    "https://017700000001/", "https://0177.0.0.1/", "https://127.1/", "https://127.0.0.1./",
    "https://10.0.0.1/", "https://10.1/", "https://167772161/", "https://169.254.169.254/",
    "https://192.168.1.1/", "https://100.64.0.1/", "https://224.0.0.1/", "https://0.0.0.0/",
    "https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:a00:1]/",
    "https://[64:ff9b::a00:1]/", "https://[2002:a00:1::]/", "https://[fd00::1]/",
    "https://[fe80::1]/", "https://[ff02::1]/", "https://localhost/", "https://localhost:8080/",
    "https://１２７.0.0.1/", "https://127。0。0。1/", "https://%31%32%37.0.0.1/",
    "https://hooks.example.com\\@10.0.0.1/", "https://hooks.example.com/\r\nHost: evil",
    "https://hooks.example.com/\u0000", "https://hooks.example.com/ x",
    "https://hooks.example.com/" + "x" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_cannot_be_called_is_invalid(module_door: Door, url: str) -> None:
    document = problem(add(module_door, url=url), 422, "invalid_body")

    assert [error["pointer"] for error in document["errors"]] == ["/url"]
    assert not url or url not in json.dumps(document, ensure_ascii=False)
    assert read(module_door, PATH)["data"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": None}, "/url"),
        ({"url": 7}, "/url"),
        ({"url": [URL]}, "/url"),
        ({"url": URL, "events": []}, "/events"),
        ({"url": URL, "events": "entry.posted"}, "/events"),
        ({"url": URL, "events": ["entry.posted", "entry.deleted"]}, "/events/1"),
        ({"url": URL, "events": ["instruction.accepted"]}, "/events/0"),
        ({"url": URL, "events": ["*"]}, "/events/0"),
        ({"url": URL, "events": [7]}, "/events/0"),
        ({"url": URL, "events": [None]}, "/events/0"),
        ({"url": URL, "secret": "whsec_mine"}, "/secret"),
        ({"url": URL, "enabled": False}, "/enabled"),
        ([], ""),
        ("x", ""),
        (None, ""),
    ],
)
def test_a_body_that_is_none_is_invalid(module_door: Door, body: Any, pointer: str) -> None:
    response = module_door.post(PATH, json.dumps(body).encode())

    document = problem(response, 422, "invalid_body")
    assert [error["pointer"] for error in document["errors"]] == [pointer]


def test_a_lone_surrogate_is_invalid_and_bytes_that_are_no_json_malformed(
    module_door: Door,
) -> None:
    lone = rb'{"url": "https://hooks.example.com/\ud800"}'
    assert problem(module_door.post(PATH, lone), 422, "invalid_body")["errors"]
    problem(module_door.post(PATH, b'{"url": "a", "url": "b"}'), 400, "malformed_json")
    problem(module_door.post(PATH, b""), 400, "malformed_json")
    problem(module_door.post(PATH, b" " * 70_000), 413, "body_too_large")
    headers = {"Content-Type": "text/plain"}
    problem(module_door.post(PATH, b"{}", headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"url": None, "events": None, "enabled": None}, ""),
        ({"url": "https://10.0.0.1/"}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["nothing"]}, "/events/0"),
        ({"enabled": "false"}, "/enabled"),
        ({"enabled": 0}, "/enabled"),
        ({"disabled_reason": "x"}, "/disabled_reason"),
        ([], ""),
    ],
)
def test_a_change_that_is_none_is_invalid(door: Door, body: Any, pointer: str) -> None:
    made = added(door)

    document = problem(change(door, made["id"], body), 422, "invalid_body")

    assert [error["pointer"] for error in document["errors"]] == [pointer]
    del made["secret"]
    assert read(door, f"{PATH}/{made['id']}") == made


def test_what_is_named_is_changed_and_nothing_else(door: Door) -> None:
    made = added(door)
    del made["secret"]

    response = change(door, made["id"], {"url": URL + "/2", "events": ["entry.posted"]})

    assert response.status_code == 200
    assert response.json == {**made, "url": URL + "/2", "events": ["entry.posted"]}
    assert read(door, f"{PATH}/{made['id']}") == response.json


def test_an_endpoint_is_disabled_and_enabled_again(door: Door) -> None:
    made = added(door)
    del made["secret"]
    with door.parts.engine.begin() as connection:
        connection.execute(text("UPDATE callback_endpoints SET failing_since = now()"))

    disabled = change(door, made["id"], {"enabled": False}).json
    again = change(door, made["id"], {"enabled": False}).json

    assert disabled is not None
    assert disabled == again
    assert disabled["enabled"] is False
    assert disabled["disabled_reason"] == "by its client"
    assert disabled["disabled_at"].endswith("Z")
    assert disabled["failing_since"].endswith("Z")
    assert change(door, made["id"], {"enabled": True}).json == made


def test_why_it_was_disabled_stays_when_it_is_disabled_again(door: Door) -> None:
    made = added(door)
    with door.parts.engine.begin() as connection:
        connection.execute(
            text("""
                UPDATE callback_endpoints SET enabled = false, disabled_at = '2026-11-23 10:00Z',
                    disabled_reason = 'answered 410 Gone'
            """)
        )

    shown = change(door, made["id"], {"enabled": False}).json

    assert shown is not None
    assert shown["disabled_reason"] == "answered 410 Gone"
    assert shown["disabled_at"] == "2026-11-23T10:00:00.000Z"


def test_a_deleted_endpoint_is_gone(door: Door) -> None:
    made = added(door)
    path = f"{PATH}/{made['id']}"

    deleted = door.request("DELETE", path)

    assert (deleted.status_code, deleted.data) == (204, b"")
    assert not {"Content-Type", "Content-Length"} & {name for name, _ in deleted.headers}
    for response in (
        door.get(path),
        door.get(f"{path}/deliveries"),
        change(door, made["id"], {"enabled": True}),
        door.request("POST", f"{path}/rotate-secret"),
        door.request("DELETE", path),
    ):
        problem(response, 404, "not_found")
    assert read(door, PATH) == {"data": [], "next_cursor": None}


def test_a_secret_is_rotated_and_the_new_one_shown_once(door: Door) -> None:
    made = added(door)
    secret = made.pop("secret")

    response = door.request("POST", f"{PATH}/{made['id']}/rotate-secret")

    assert response.status_code == 200
    assert response.json is not None
    rotated = dict(response.json)
    assert rotated.pop("secret") not in (secret, None)
    assert rotated == made == read(door, f"{PATH}/{made['id']}")


def test_a_client_has_twenty_endpoints_and_no_more(door: Door) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: add(door), range(ENDPOINTS_MAX + 5)))

    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [409] * 5
    for refused in (answer for answer in answers if answer.status_code == 409):
        problem(refused, 409, "too_many_endpoints")
    assert len(read(door, PATH)["data"]) == ENDPOINTS_MAX
    added(door.new_client())
    door.request("DELETE", answers[0].headers.get("Location") or answers[1].headers["Location"])
    added(door)
    problem(add(door), 409, "too_many_endpoints")


def test_endpoints_come_in_pages(door: Door) -> None:
    ids = sorted(added(door)["id"] for _ in range(5))

    first = read(door, f"{PATH}?limit=3")
    second = read(door, f"{PATH}?limit=3&cursor={first['next_cursor']}")

    assert [each["id"] for each in first["data"] + second["data"]] == ids
    assert second["next_cursor"] is None
    problem(door.get(f"{PATH}?limit=0"), 422, "invalid_query")
    problem(door.get(f"{PATH}?cursor=x"), 422, "invalid_query")


def test_another_clients_endpoints_and_deliveries_are_not_there(door: Door) -> None:
    made = added(door)
    event_id = add_delivery(door.parts.engine, made["id"], NOW)
    path = f"{PATH}/{made['id']}"
    stranger = door.new_client()

    for response in (
        stranger.get(path),
        stranger.get(f"{path}/deliveries"),
        change(stranger, made["id"], {"url": "https://evil.example/"}),
        stranger.request("POST", f"{path}/rotate-secret"),
        stranger.request("POST", f"{path}/deliveries/{event_id}/redeliver"),
        stranger.request("DELETE", path),
    ):
        problem(response, 404, "not_found")

    assert read(stranger, PATH)["data"] == []
    del made["secret"]
    assert read(door, path) == made
    assert read(door, f"{path}/deliveries")["data"][0]["status"] == "delivered"
    assert added(stranger)["id"] != made["id"]


def test_a_secret_is_in_no_log_and_in_no_later_answer(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = added(door)
    path = f"{PATH}/{made['id']}"
    rotated = door.request("POST", f"{path}/rotate-secret").json
    assert rotated is not None
    add_delivery(door.parts.engine, made["id"], NOW)

    answers = [
        door.get(PATH),
        door.get(path),
        door.get(f"{path}/deliveries"),
        change(door, made["id"], {"enabled": False}),
        add(door, url=made["secret"]),
        add(door, events=[made["secret"]]),
        add(door, {"url": URL, made["secret"]: 1}),
    ]

    logged = "\n".join(str(vars(record)) for record in caplog.records)
    shown = "\n".join(answer.get_data(as_text=True) for answer in answers[:-1])
    for secret in (made["secret"], rotated["secret"]):
        assert secret not in logged + shown
        assert base64.b64decode(secret.removeprefix("whsec_")).hex() not in logged + shown


def test_without_keys_an_endpoint_cannot_be_added_and_the_rest_works(open_door: Doors) -> None:
    with_keys = open_door()
    made = added(with_keys)
    settings = with_keys.settings.model_copy(update={"secret_keys": None})
    without = open_door(settings).with_key(with_keys.key)

    document = problem(add(without), 503, "temporarily_unavailable")

    assert document["detail"] == "Callbacks are not set up on this server."
    response = without.request("POST", f"{PATH}/{made['id']}/rotate-secret")
    problem(response, 503, "temporarily_unavailable")
    assert read(without, f"{PATH}/{made['id']}")["url"] == URL


def test_development_may_have_callbacks_on_its_own_machine(open_door: Doors) -> None:
    door = open_door(callback_allow_loopback=True)

    assert added(door, url="http://127.0.0.1:9999/x")["url"] == "http://127.0.0.1:9999/x"
    problem(add(door, url="http://10.0.0.1/"), 422, "invalid_body")

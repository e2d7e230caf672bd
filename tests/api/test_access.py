"""Who may do what: every route, made from the URL map, so that a new one fails until covered."""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask

from api import access
from tests.api.conftest import ALL_SCOPES, Door, problem, revoke, transfer_body
from tests.deliveries import add_delivery


@dataclass(frozen=True)
class Case:
    """How to call one route: its scope, and a request that a client with rights succeeds with."""

    scope: str | None
    body: dict[str, Any] | None = None
    query: str = ""


HOOK = "https://hooks.example.com/"
MONEY = {"wallet_id": "{wallet}", "amount": 1, "currency": "KES"}

CASES = {
    ("POST", "/v1/customers"): Case(
        "customers:write", {"name": "A", "email": "a@b", "country": "RW"}
    ),
    ("POST", "/v1/wallets"): Case(
        "wallets:write", {"customer_id": "{customer}", "currency": "KES"}
    ),
    ("POST", "/v1/deposits"): Case("deposits:write", MONEY),
    ("POST", "/v1/withdrawals"): Case("withdrawals:write", MONEY),
    ("POST", "/v1/transfers"): Case(
        "transfers:write",
        {
            "source_wallet_id": "{wallet}",
            "destination_wallet_id": "{other_wallet}",
            "amount": 1,
            "currency": "KES",
        },
    ),
    ("POST", "/v1/batches"): Case(
        None, {"items": [{"idempotency_key": "{key}", "type": "deposit", "data": MONEY}]}
    ),
    ("GET", "/v1/instructions/<uuid:id>"): Case(None),
    ("GET", "/v1/instructions"): Case(None, query="?idempotency_key={key}"),
    ("GET", "/v1/customers/<uuid:id>"): Case("customers:read"),
    ("GET", "/v1/customers"): Case("customers:read", query="?legacy_id=L-1"),
    ("GET", "/v1/customers/<uuid:id>/wallets"): Case("wallets:read"),
    ("GET", "/v1/wallets/<uuid:id>"): Case("wallets:read"),
    ("GET", "/v1/wallets/<uuid:id>/entries"): Case("wallets:read"),
    ("GET", "/v1/events"): Case(None),
    ("POST", "/v1/callback-endpoints"): Case("callbacks", {"url": HOOK}),
    ("GET", "/v1/callback-endpoints"): Case("callbacks"),
    ("GET", "/v1/callback-endpoints/<uuid:id>"): Case("callbacks"),
    ("PATCH", "/v1/callback-endpoints/<uuid:id>"): Case("callbacks", {"enabled": True}),
    ("DELETE", "/v1/callback-endpoints/<uuid:id>"): Case("callbacks"),
    ("POST", "/v1/callback-endpoints/<uuid:id>/rotate-secret"): Case("callbacks"),
    ("GET", "/v1/callback-endpoints/<uuid:id>/deliveries"): Case("callbacks"),
    ("POST", "/v1/callback-endpoints/<uuid:id>/deliveries/<uuid:delivery_id>/redeliver"): Case(
        "callbacks"
    ),
}

PUBLIC = {
    ("GET", "/v1/health/live"),
    ("GET", "/v1/health/ready"),
    ("GET", "/v1/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/queues"),
    ("GET", "/docs/queues/asyncapi.json"),
    ("GET", "/docs/assets/<path:name>"),
}

ROUTES = sorted(CASES)

LISTS = {("GET", f"/v1/{things}") for things in ("customers", "events", "callback-endpoints")}
"""Of the client's own things: somebody else's list is empty."""


@dataclass(frozen=True)
class House:
    """A client with a customer, two wallets and a decided instruction; and another client."""

    owner: Door
    stranger: Door
    names: dict[str, str]

    def call(self, door: Door, route: tuple[str, str]) -> Any:
        method, rule = route
        case = CASES[route]
        kind = rule.split("/")[2]
        named = {
            "customers": self.names["customer"],
            "wallets": self.names["wallet"],
            "instructions": self.names["instruction"],
            "callback-endpoints": self.names["endpoint"],
        }
        if method == "DELETE":  # The next one who calls shall find something, too.
            named["callback-endpoints"] = new_endpoint(self.owner)
        path = rule.replace("<uuid:id>", named.get(kind, "")) + _filled(case.query, self.names)
        path = path.replace("<uuid:delivery_id>", self.names["delivery"])
        if case.body is None:
            return door.request(method, path)
        body = _filled(case.body, self.names | {"key": uuid.uuid4().hex})
        return door.post(path, body, method=method)


def new_endpoint(door: Door) -> str:
    response = door.post("/v1/callback-endpoints", {"url": HOOK})
    assert response.json is not None
    return str(response.json["id"])


def _filled(value: Any, names: dict[str, str]) -> Any:
    match value:
        case str():
            for name, text in names.items():
                value = value.replace(f"{{{name}}}", text)
            return value
        case dict():
            return {k: _filled(v, names) for k, v in value.items()}
        case list():
            return [_filled(v, names) for v in value]
    return value


@pytest.fixture(scope="module")
def house(module_door: Door) -> House:
    customer, wallet = module_door.opened("KES", 777)
    _, other_wallet = module_door.opened("KES", 10)
    key = uuid.uuid4().hex
    deposited = module_door.post(
        "/v1/deposits", {"wallet_id": wallet, "amount": 1, "currency": "KES"}, key
    )
    module_door.decide(tell=True)
    assert deposited.json is not None
    endpoint = new_endpoint(module_door)
    names = {
        "endpoint": endpoint,
        "delivery": add_delivery(module_door.parts.engine, endpoint, datetime.now(UTC)),
        "customer": customer,
        "wallet": wallet,
        "other_wallet": other_wallet,
        "instruction": deposited.json["id"],
        "key": key,
    }
    return House(module_door, module_door.new_client(), names)


def rules_of(app: APIFlask) -> Iterator[tuple[str, str]]:
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, rule.rule


def test_every_route_is_covered_here(module_door: Door) -> None:
    assert sorted(rules_of(module_door.app)) == sorted({*CASES, *PUBLIC})


def test_a_view_that_does_not_say_who_may_call_it_stops_the_start() -> None:
    app = APIFlask("x", static_folder=None, spec_path=None, docs_path=None)  # type: ignore[arg-type]
    app.add_url_rule("/open", "open", lambda: "")

    with pytest.raises(LookupError, match="open"):
        access.guard(app, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("route", ROUTES)
def test_each_route_serves_who_has_the_right(house: House, route: tuple[str, str]) -> None:
    case = CASES[route]
    door = house.owner if case.scope is None else house.owner.new_key([case.scope])

    assert house.call(door, route).status_code in (200, 201, 202, 204)


NO_KEY = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Bearer x",
    "Bearer tekana_test_" + "x" * 43,
    "Bearer tekana_live_" + "x" * 43,
    "Bearer tekana_test_" + "x" * 44,
    "Bearer tekana_test_é" + "x" * 42,
    "Basic dXNlcjpwYXNz",
    "tekana_test_" + "x" * 43,
    "Bearer " + "x" * 8000,
]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("authorization", NO_KEY)
def test_each_route_refuses_whoever_has_no_key(
    house: House, route: tuple[str, str], authorization: str | None
) -> None:
    method, rule = route
    path = re.sub("<uuid:[a-z_]+>", house.names["wallet"], rule)
    headers = {"Authorization": authorization}

    response = house.owner.request(method, path, headers=headers, data=b"{}")

    problem(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", ROUTES)
def test_each_route_refuses_an_expired_and_a_revoked_key(
    house: House, route: tuple[str, str]
) -> None:
    expired = house.owner.new_key(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    revoked = house.owner.new_key()
    revoke(revoked)

    problem(house.call(expired, route), 401, "unauthorized")
    problem(house.call(revoked, route), 401, "unauthorized")


@pytest.mark.parametrize("route", [route for route in ROUTES if CASES[route].scope is not None])
def test_each_route_refuses_every_other_scope(house: House, route: tuple[str, str]) -> None:
    door = house.owner.new_key(ALL_SCOPES - {str(CASES[route].scope)})

    problem(house.call(door, route), 403, "forbidden")


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route[0] == "GET" or "<uuid:" in route[1]]
)
def test_another_clients_things_are_as_if_they_were_not(
    house: House, route: tuple[str, str]
) -> None:
    foreign = house.call(house.stranger, route)
    unknown = House(
        house.owner, house.stranger, {name: str(uuid.uuid4()) for name in house.names}
    ).call(house.stranger, route)

    assert foreign.status_code == unknown.status_code
    assert without_request_id(foreign) == without_request_id(unknown)
    if route in LISTS:
        assert foreign.json["data"] == []
    else:
        problem(foreign, 404, "not_found")


def test_an_instruction_on_a_foreign_wallet_tells_nothing_of_it(house: House) -> None:
    for path, body in (
        ("/v1/withdrawals", {"wallet_id": "{wallet}", "amount": 10**9, "currency": "RWF"}),
        ("/v1/transfers", CASES["POST", "/v1/transfers"].body | {"amount": 10**9}),  # type: ignore[operator]
    ):
        response = house.stranger.post(path, _filled(body, house.names))
        house.owner.decide(tell=True)
        outcome = house.stranger.get(response.headers["Location"]).json

        assert outcome is not None
        assert outcome["status"] == "rejected"
        assert outcome["rejection"]["code"] == "not_permitted"
        assert "available" not in outcome["rejection"]


def test_a_payer_never_learns_the_payees_balance(house: House) -> None:
    _, source = house.stranger.opened("KES", 50)
    response = house.stranger.post(
        "/v1/transfers",
        transfer_body(source_wallet_id=source, destination_wallet_id=house.names["wallet"])
        | {"amount": 7},
    )
    house.owner.decide(tell=True)

    outcome = house.stranger.get(response.headers["Location"]).json

    assert outcome is not None
    assert outcome["status"] == "succeeded"
    assert [entry["wallet_id"] for entry in outcome["result"]["entries"]] == [source]


@pytest.mark.parametrize(
    "path", ["/v1/health/live", "/v1/health/ready", "/v1/openapi.json", "/docs"]
)
def test_health_and_documents_need_no_key(module_door: Door, path: str) -> None:
    assert module_door.get(path, headers={"Authorization": None}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/nothing", "/v1/transfers/", "//v1/transfers", "/v2/transfers",
             "/docs/", "/docs/assets/../app.py", "/docs/assets/%2e%2e/app.py", "/docs/assets/x"],
)  # fmt: skip
def test_an_address_that_is_not_there_is_not_found(module_door: Door, path: str) -> None:
    problem(module_door.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("route", "method"),
    [
        (route, method)
        for route in ROUTES
        for method in ("PUT", "DELETE", "PATCH", "TRACE", "NONSENSE")
        if (method, route[1]) not in CASES
    ],
)
def test_other_methods_are_not_allowed(
    module_door: Door, route: tuple[str, str], method: str
) -> None:
    path = re.sub("<uuid:[a-z_]+>", str(uuid.uuid4()), route[1])

    response = module_door.request(method, path)

    problem(response, 405, "method_not_allowed")
    assert route[0] in response.headers["Allow"]


def test_head_is_get_without_a_body_and_options_tells_the_methods(module_door: Door) -> None:
    head = module_door.request("HEAD", "/v1/health/live")
    options = module_door.request("OPTIONS", "/v1/customers", headers={"Authorization": None})

    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == "17"
    assert (options.status_code, options.data) == (200, b"")
    assert set(options.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


def without_request_id(response: Any) -> Any:
    document = dict(response.json)
    document.pop("request_id", None)
    return document

"""docker-compose.yml: what the real `docker compose` says of it, and what it cannot know."""

import re
from configparser import ConfigParser

import pytest

from config import broker
from config.settings import PREFIX, Settings
from ops.commands.processes import Partitions
from ops.stack.folder import CHECKOUT
from tests.deploy.compose_file import ENDING, OURS, PORTS, config, filled_in, services, wanted

_ALL = dict.fromkeys(wanted(), "x") | PORTS

_PINNED = re.compile(r"[a-z]+:\d+\.\d+(\.\d+)?(-[a-z]+)?")


def test_compose_accepts_it() -> None:
    done = config(_ALL, "--quiet")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", wanted())
def test_without_a_variable_or_with_an_empty_one_nothing_starts(name: str) -> None:
    done = config(_ALL | {name: ""}, "--quiet")

    assert done.returncode != 0
    assert f"required variable {name} is missing a value: see .env.example" in done.stderr


def test_the_example_asks_for_what_is_needed_and_for_nothing_else() -> None:
    text = (CHECKOUT / "docker-compose.yml").read_text()

    assert set(re.findall(r"\$\{([A-Z_]+)[:}]", text)) == set(wanted())
    assert ":-" not in text, "a default is everybody's"
    assert "/.env" in (CHECKOUT / ".gitignore").read_text().splitlines()


def test_each_service_is_contained() -> None:
    for name, service in services().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.keys() & {"privileged", "cap_add", "network_mode"}, name
        # Ours says it in the image: see test_image.
        assert "build" in service or re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), name
        for volume in service.get("volumes", []):
            assert volume["type"] == "volume" or volume["read_only"], f"{name} writes no files"


def test_each_service_is_pinned_comes_back_and_is_asked_how_it_is() -> None:
    for name, service in services().items():
        assert _PINNED.fullmatch(service["image"]), name
        assert service["restart"] == ("no" if name in ENDING else "unless-stopped"), name
        assert ("healthcheck" in service) == (name not in ENDING), name
        assert service["logging"]["driver"] == "local", name


def test_nothing_is_published_but_haproxy_and_to_this_machine_flower() -> None:
    published = {
        (name, port.get("host_ip"), port["target"])
        for name, service in services().items()
        for port in service.get("ports", [])
    }

    assert published == {
        ("haproxy", None, 8443),
        ("haproxy", None, 8671),
        ("flower", "127.0.0.1", 5555),
    }


def test_the_stores_have_no_way_out_and_haproxy_one_to_the_broker_alone() -> None:
    for inner in ("data", "partners"):
        assert filled_in()["networks"][inner]["internal"] is True
    for name in ("postgres", "redis", "migrate", "grants"):
        assert set(services()[name]["networks"]) == {"data"}
    assert set(services()["haproxy"]["networks"]) == {"door", "partners"}
    let_out = {name for name, one in services().items() if "outside" in one["networks"]}
    assert let_out == {"callbacks-1", "callbacks-2"}
    on_partners = {name for name, one in services().items() if "partners" in one["networks"]}
    assert on_partners == {"haproxy", "rabbitmq"}


@pytest.mark.parametrize("name", [*OURS, "migrate", "operator", "provisioner"])
def test_each_process_gets_settings_that_it_accepts(name: str) -> None:
    given = services()[name]["environment"]

    settings = Settings.from_env(given)

    assert all(variable.startswith(PREFIX) for variable in given)
    assert settings.environment == "production"
    assert settings.partitions == Settings.model_fields["partitions"].default


def test_each_process_holds_the_secrets_of_its_own_kind_alone() -> None:
    kinds = {"api-1": "api", "api-2": "api", "flower": "flower", "migrate": "owner"}
    kinds |= {"operator": "operator", "provisioner": "provisioner", "beat": "beat"}
    kinds |= {
        name: kind for kind in ("ledger", "inbox", "callbacks") for name in OURS if kind in name
    }
    passwords = {name.lower() for name in wanted() if name.endswith("_PASSWORD")}
    for name, kind in kinds.items():
        text = " ".join(services()[name]["environment"].values())
        expected = {f"{kind}_password"} | ({"flower_page_password"} if kind == "flower" else set())
        # It is the operator, for one thing more.
        expected |= {"operator_password"} if kind == "provisioner" else set()
        assert {password for password in passwords if password in text} == expected


def test_only_who_reads_or_writes_secrets_holds_their_keys() -> None:
    holders = {
        name
        for name, service in services().items()
        if "TEKANA_SECRET_KEYS" in (service.get("environment") or {})
    }

    assert holders == {
        name for name in services() if name.startswith(("api-", "callbacks")) or name == "operator"
    }


def test_every_partition_has_a_worker_and_a_standby_that_starts_last() -> None:
    consumed = {
        name: Partitions().convert(service["command"][-1], None, None)
        for name, service in services().items()
        if "--partitions" in (service.get("command") or [])
    }
    standby = consumed.pop("ledger-standby")
    partitions = list(range(Settings.model_fields["partitions"].default))

    assert sorted(number for numbers in consumed.values() for number in numbers) == partitions
    assert standby == partitions
    awaited = services()["ledger-standby"]["depends_on"]
    assert {name: one["condition"] for name, one in awaited.items()} == dict.fromkeys(
        consumed, "service_healthy"
    )
    consumers = {broker.partition_queue(number).name for number in standby}
    queues = {queue.name for queue in broker.queues(len(partitions))}
    # What is dead waits for a person.
    assert queues - consumers == {broker.DEAD_QUEUE}


def test_a_process_is_given_the_time_it_needs_to_end() -> None:
    from api.serve import _STOP_TIMEOUT_S
    from workers.app import heartbeat_interval_s
    from workers.callbacks.sender import BODY_TIMEOUT_S, TIMEOUT_S
    from workers.partners.inbox import CONFIRM_TIMEOUT_S

    settings = Settings.from_env(services()["ledger-low"]["environment"])

    assert _grace_s("api-1") > _STOP_TIMEOUT_S
    assert _grace_s("ledger-low") > heartbeat_interval_s(settings)  # As long as a batch can take.
    # A turn writes its receipts, and awaits the broker twice.
    turn_s = settings.statement_timeout_ms / 1000 + 2 * CONFIRM_TIMEOUT_S
    assert _grace_s("inbox-1") > turn_s
    assert _grace_s("callbacks-1") > TIMEOUT_S + BODY_TIMEOUT_S
    haproxy = (CHECKOUT / "deploy" / "haproxy" / "haproxy.cfg").read_text()
    hard_stop = re.search(r"hard-stop-after (\d+)s", haproxy)
    assert hard_stop is not None
    assert _grace_s("haproxy") > int(hard_stop[1])


def test_what_is_written_twice_agrees() -> None:
    development = (CHECKOUT / "deploy" / "services.compose.yml").read_text()
    for name in ("postgres", "rabbitmq", "redis"):
        assert f"image: {services()[name]['image']}\n" in development
    about = ConfigParser()
    about.read(CHECKOUT / "setup.cfg")
    assert services()["api-1"]["image"] == f"tekana:{about['metadata']['version']}"


def _grace_s(name: str) -> int:
    text = services()[name]["stop_grace_period"]
    minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(\d+)s", text).groups()  # type: ignore[union-attr]
    return int(minutes or 0) * 60 + int(seconds)

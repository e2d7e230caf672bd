"""Keys for stored secrets: read strictly, told to nobody, and development's refused."""

import base64

import pytest

from config.secret_keys import make_secret_key, parse_secret_keys
from config.settings import DEVELOPMENT_MARK, Settings, SettingsError

NEW, OLD = make_secret_key("2026-11"), make_secret_key("2025-01")

REQUIRED = {
    "TEKANA_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
    "TEKANA_BROKER_URL": "amqp://127.0.0.1:9/",
    "TEKANA_REDIS_URL": "redis://127.0.0.1:9/0",
}


def test_the_first_key_is_the_first() -> None:
    keys = parse_secret_keys(f"{NEW}, {OLD}")

    assert list(keys) == ["2026-11", "2025-01"]
    assert all(len(key) == 32 for key in keys.values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "key",
        ":",
        f"{NEW},",
        f"{NEW};{OLD}",
        f"{NEW},{NEW}",
        NEW.replace("2026-11", "two words"),
        NEW.replace("2026-11", ""),
        NEW.replace("2026-11", "k" * 65),
        NEW.replace("2026-11", "clé"),
        "key:" + base64.b64encode(bytes(31)).decode(),
        "key:" + base64.b64encode(bytes(33)).decode(),
        "key:" + base64.b64encode(bytes(32)).decode().rstrip("="),
        "key:" + "!" * 44,
    ],
    ids=range(15),  # Keys differ from run to run, and names of tests must not.
)
def test_what_is_no_list_of_keys_stops_the_start_and_is_not_repeated(text: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({**REQUIRED, "TEKANA_SECRET_KEYS": text})

    assert "TEKANA_SECRET_KEYS must" in str(refusal.value)
    for part in text.split(","):
        assert len(part) < 40 or part[-40:] not in str(refusal.value)


def test_no_key_is_in_a_repr_of_the_settings() -> None:
    settings = Settings.from_env({**REQUIRED, "TEKANA_SECRET_KEYS": NEW})

    assert NEW.partition(":")[2] not in repr(settings)
    assert NEW.partition(":")[2] not in settings.model_dump_json()


def test_production_refuses_the_keys_of_development_and_loopback() -> None:
    made = {**REQUIRED, "TEKANA_SECRET_KEYS": make_secret_key(f"{DEVELOPMENT_MARK}-1")}
    loopback = {**REQUIRED, "TEKANA_CALLBACK_ALLOW_LOOPBACK": "true"}
    for given, told in ((made, "holds a development secret"), (loopback, "development alone")):
        with pytest.raises(SettingsError, match=told):
            Settings.from_env(given)
        assert Settings.from_env({**given, "TEKANA_ENVIRONMENT": "development"})

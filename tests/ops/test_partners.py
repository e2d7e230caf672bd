"""Provisioning by two operators at the same time."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import Engine

from config.settings import Settings
from ops.partners import Asked, Issued, Provisioning
from ops.stack.services import Services
from storage.clients import authenticate, key_digest
from storage.engine import operator_engine
from storage.partners import active
from tests.ops.conftest import Operator
from tests.partners.client import connect


def test_two_operators_at_once_make_one_partner_with_one_of_each_secret(
    services: Services, settings: Settings, engine: Engine, tekana: Operator, name: str
) -> None:
    tekana("client", "add", name, "--scope", "deposits:write", "--reason", "test")
    admin_url = services.rabbitmq.management_url
    given = Settings.model_validate(dict(settings) | {"broker_admin_url": admin_url})
    both = Barrier(2)

    def add(_: int) -> Issued:
        own = operator_engine(given)
        try:
            both.wait()
            return Provisioning(given, own).add(Asked(name), who="test", reason="test")
        finally:
            own.dispose()

    with ThreadPoolExecutor(2) as operators:
        issued = list(operators.map(add, range(2)))

    [url] = [each.broker_url for each in issued if each.broker_url]
    [key] = [each.api_key for each in issued if each.api_key]
    connect(url).close()
    assert authenticate(engine, key_digest(key)) is not None
    assert [each.name for each in active(engine)] == [name]

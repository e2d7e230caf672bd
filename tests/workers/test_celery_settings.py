"""Of Celery, whatever would reorder an instruction or decide it twice is off."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import kombu.compression
import pytest
from celery import Celery
from celery.utils.quorum_queues import detect_quorum_queues
from pydantic import SecretStr

from config import broker
from config.settings import Settings
from ops.stack.services import Services
from tests.support import settings_for
from tests.workers.certificates import Authority
from tests.workers.house import PARTITIONS, House
from tests.workers.receiver import server_tls
from workers.app import celery_app, heartbeat_interval_s


@pytest.fixture
def settings(services: Services) -> Settings:
    return settings_for(services)


@pytest.fixture
def app(settings: Settings) -> Celery:
    return celery_app(settings)


def test_nothing_is_published_again_by_celery(app: Celery) -> None:
    assert app.conf.task_reject_on_worker_lost is False
    assert app.conf.task_retry_on_worker_lost is False
    assert app.conf.task_acks_late is False
    ours = [name for name in app.tasks if not name.startswith("celery.")]
    assert ours == [], "a task could be retried or given an ETA; there is none"


def test_a_broker_that_is_somebody_else_gets_no_password(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its certificate is valid, for another name: anybody has one of those."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    tls = server_tls(authority.certificate("elsewhere.example"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = SecretStr(f"amqps://ledger:secret@127.0.0.1:{port}/tekana")
        app = celery_app(settings.model_copy(update={"broker_url": url}))

        def impersonate() -> None:
            with suppress(OSError):
                tls.wrap_socket(server.accept()[0], server_side=True).recv(1)

        thread = threading.Thread(target=impersonate)
        thread.start()
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            app.connection_for_write().transport.establish_connection()
        thread.join()


def test_no_queue_of_celerys_own_is_consumed_or_made_on_demand(app: Celery) -> None:
    assert app.conf.task_queues is None
    assert app.conf.task_create_missing_queues is False
    app.amqp.queues.deselect(["celery"])
    assert app.amqp.queues.consume_from == {}


def test_native_delayed_delivery_stays_off(app: Celery) -> None:
    assert detect_quorum_queues(app, "amqp") == (False, "")
    assert app.conf.worker_detect_quorum_queues is False


def test_results_are_nobodys_but_ours(app: Celery) -> None:
    assert app.conf.result_backend is None
    assert app.conf.task_ignore_result is True


def test_only_json_is_accepted_and_nothing_decompressed(app: Celery) -> None:
    assert app.conf.accept_content == ["json"]
    assert kombu.compression._decoders == {}


def test_an_alarm_cannot_make_the_worker_wait_for_an_event(app: Celery) -> None:
    options = app.conf.broker_transport_options
    assert options["confirm_publish"] is False
    assert options["write_timeout"] > 0
    assert options["read_timeout"] > 0


def test_a_lost_broker_never_ends_the_worker(app: Celery) -> None:
    assert app.conf.broker_connection_retry is True
    assert app.conf.broker_connection_retry_on_startup is True
    assert app.conf.broker_connection_max_retries is None
    assert app.conf.broker_channel_error_retry is True


def test_the_heartbeat_outlasts_a_batch(settings: Settings) -> None:
    assert heartbeat_interval_s(settings) * 1000 > 3 * settings.statement_timeout_ms


def test_on_the_broker_there_is_only_what_we_declared_and_celerys_control(
    open_house: Callable[..., House],
) -> None:
    house = open_house()
    worker = house.worker().ready()
    house.publish(house.transfers(8))
    house.await_decided(f"k{number}" for number in range(8))

    queues = {queue["name"]: queue for queue in house.manage("GET", f"queues/{house.vhost}")}
    exchanges = {each["name"] for each in house.manage("GET", f"exchanges/{house.vhost}")}
    bindings = house.manage("GET", f"bindings/{house.vhost}")

    declared = [*broker.queues(PARTITIONS), *broker.callback_queues()]
    ours = {queue.name for queue in declared}
    others = set(queues) - ours
    assert set(queues) >= ours
    assert len(others) == 1
    (control,) = others
    assert control.startswith("ledger-0-7-")
    assert control.endswith(".celery.pidbox")
    assert {each for each in exchanges if each and not each.startswith("amq.")} == {
        *broker.exchanges(),
        "celery.pidbox",
        "celeryev",
    } | ({"reply.celery.pidbox"} & exchanges)
    bound_to_ours = {
        (each["source"], each["routing_key"])
        for each in bindings
        if each["destination"].startswith("ledger.p") and each["source"]
    }
    assert bound_to_ours == {(broker.LEDGER_EXCHANGE, str(n)) for n in range(PARTITIONS)}
    assert worker.terminate() == 0

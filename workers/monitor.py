"""Flower, run in this process, so that its password is on no command line."""

import atexit
import contextlib
import signal
import sys
from typing import Final, NoReturn

from config.logs import configure_logging
from config.settings import Settings
from workers.app import celery_app

USER: Final = "operator"

TASKS_MOST: Final = 5000
"""Instructions that Flower remembers, so that its memory is bounded."""

OFFLINE_WORKERS_S: Final = 600
"""How long Flower counts a worker that is gone."""


def run_flower(settings: Settings) -> NoReturn:
    """Serve Flower, read-only and behind a password, until SIGTERM or Ctrl-C.

    Raises: ValueError if the settings hold no password.
    """
    if settings.flower_password is None:
        raise ValueError("TEKANA_FLOWER_PASSWORD is not set; Flower does not start without")
    # Imported here: Flower defines its options when it is imported.
    from flower.app import Flower
    from flower.options import options
    from flower.urls import settings as page_settings

    configure_logging(settings.log_level)
    options.logging = "none"
    options.address = settings.api_host
    options.port = settings.flower_port
    options.basic_auth = [f"{USER}:{settings.flower_password.get_secret_value()}"]
    options.read_only = True
    options.max_tasks = TASKS_MOST
    options.purge_offline_workers = OFFLINE_WORKERS_S
    options.tasks_columns = "name,uuid,state,result,received,runtime,worker"
    server = Flower(capp=celery_app(settings), options=options, **page_settings)
    atexit.register(server.stop)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.start_http_server()
    with contextlib.suppress(KeyboardInterrupt):
        server.start()
    sys.exit(0)

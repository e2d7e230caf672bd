"""Serve the API over HTTP until told to stop."""

import ctypes
import functools
import logging
import multiprocessing.util
import signal
import time
from typing import Any, Final

from apiflask import APIFlask
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from api.app import Parts, create_app
from config.logs import configure_logging, described
from config.settings import Settings
from storage import deadline, partitions
from storage.engine import read_engine
from storage.faults import DATABASE_ERRORS, Fault, classify

_BACKLOG: Final = 1024
_STOP_TIMEOUT_S: Final = 35
"""Longer than the longest wait for an outcome."""

_PAUSE_S: Final = 2.0

_LOG: Final = logging.getLogger("api")

_PR_SET_PDEATHSIG: Final = 1


def run(settings: Settings) -> None:
    """Serve on the settings' address, in a child process, until SIGTERM or SIGINT.

    Requests in hand are answered before the child ends.

    Raises: PartitionCountMismatch if the database was made with another count, since every
    instruction would go to the wrong partition. Waits for a database that is away.
    """
    configure_logging(settings.log_level)
    _check_partitions(settings)
    server = Server(
        "tekana",
        address=settings.api_host,
        port=settings.api_port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=10_000, max_buffer_size=64 * 1024),
        workers=1,
        blocking_threads=settings.api_threads,
        backlog=_BACKLOG,
        websockets=False,
        log_level=LogLevels.warning,
        log_dictconfig=_LOGGING,
        workers_kill_timeout=_STOP_TIMEOUT_S,
    )
    server.serve(target_loader=functools.partial(_application, settings), wrap_loader=False)


def _check_partitions(settings: Settings) -> None:
    engine = read_engine(settings, pool_size=1)
    while True:
        try:
            with engine.connect() as connection:
                partitions.check(connection, settings.partitions)
        except DATABASE_ERRORS as error:
            if classify(error) is not Fault.TRANSIENT:
                raise
            _LOG.warning("waiting for Postgres", extra={"error": described(error)})
            # Nothing else is to be done before it answers, and nobody tells when it does.
            time.sleep(_PAUSE_S)
        else:
            engine.dispose()
            return


_LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    # Granian's own lines go where all others go.
    "loggers": {"_granian": {"propagate": True}},
}


def _application(settings: Settings) -> APIFlask:
    """In the serving process: the application, with connections of its own."""
    _end_with_parent()
    deadline.bound_waits_for_postgres()
    parts = Parts.of(settings)
    parts.publisher.start()
    multiprocessing.util.Finalize(None, parts.close, exitpriority=1)
    _LOG.info("serving", extra={"host": settings.api_host, "port": settings.api_port})
    return create_app(settings, parts)


def _end_with_parent() -> None:
    """If the parent is killed, the port must not stay taken by an orphan (Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

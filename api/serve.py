"""Serve the API over HTTP until told to stop."""

import ctypes
import functools
import logging
import multiprocessing.util
import signal
from typing import Any, Final

from apiflask import APIFlask
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from api.app import Parts, create_app
from config.logs import configure_logging
from config.settings import Settings
from storage import deadline

_BACKLOG: Final = 1024
_STOP_TIMEOUT_S: Final = 35
"""Longer than the longest wait for an outcome."""

_PR_SET_PDEATHSIG: Final = 1


def run(settings: Settings) -> None:
    """Serve on the settings' address, in a child process, until SIGTERM or SIGINT.

    Requests in hand are answered before the child ends.
    """
    configure_logging(settings.log_level)
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
    logging.getLogger("api").info(
        "serving", extra={"host": settings.api_host, "port": settings.api_port}
    )
    return create_app(settings, parts)


def _end_with_parent() -> None:
    """If the parent is killed, the port must not stay taken by an orphan (Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

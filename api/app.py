"""The API as one Flask application."""

import logging
from dataclasses import dataclass
from typing import Final, Self

from apiflask import APIFlask
from flask import Response
from sqlalchemy import Engine
from werkzeug.exceptions import HTTPException

from api import access, accounts, callback_endpoints, docs, events, health, instructions, openapi
from api.envelope import enveloped, request_id
from api.finding import Finding
from api.intake import Intake
from api.keys import Keys
from api.problems import Problem, problem_of_status
from api.reading import CONCURRENT, Reading
from api.waits import Waits
from config.settings import Settings
from producers.instructions import publish_all
from producers.publisher import Publisher
from producers.topology import declaring
from storage.engine import read_engine
from storage.outcomes import Outcomes
from storage.waiting import Waiting

VERSION: Final = "1"

_LOG: Final = logging.getLogger("api")
_UNWANTED: Final = frozenset({"content-type", "content-length"})


@dataclass(frozen=True, slots=True)
class Parts:
    """What one API process holds open. Nothing connects before it is used."""

    engine: Engine
    outcomes: Outcomes
    waiting: Waiting
    publisher: Publisher

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The parts that the settings name."""
        redis_url = settings.redis_url.get_secret_value()
        return cls(
            engine=read_engine(settings, pool_size=CONCURRENT),
            outcomes=Outcomes(redis_url, settings.outcome_ttl_s),
            waiting=Waiting(redis_url),
            publisher=Publisher(
                settings.broker_url.get_secret_value(),
                name="api",
                confirm_timeout_s=settings.confirm_timeout_s,
                declare=declaring(settings.partitions),
            ),
        )

    def close(self) -> None:
        """Close everything, the publisher first, which waits for what is on its way."""
        self.publisher.close()
        self.waiting.close()
        self.outcomes.close()
        self.engine.dispose()


def create_app(settings: Settings, parts: Parts) -> APIFlask:
    """Put the application together."""
    app = APIFlask(
        "api",
        title="Tekana",
        version=VERSION,
        json_errors=False,
        spec_path=None,
        docs_path=None,
        static_folder=None,  # type: ignore[arg-type]  # Flask's None: no folder of its own.
    )
    app.config.from_mapping(openapi.CONFIG)
    # A path that is not quite ours is not ours: no redirects.
    app.url_map.merge_slashes = False
    read = Reading(parts.engine)
    finding = Finding(parts.outcomes, read)
    intake = Intake(
        parts.outcomes,
        finding,
        lambda batch: publish_all(parts.publisher, batch, settings.partitions),
    )
    waits = Waits(parts.waiting, settings.api_waiters)
    app.register_blueprint(instructions.routes(instructions.Desk(intake, finding, waits)))
    app.register_blueprint(accounts.routes(read))
    app.register_blueprint(events.routes(read))
    desk = callback_endpoints.Desk.of(read, settings)
    app.register_blueprint(callback_endpoints.routes(desk))
    app.register_blueprint(health.routes(read, parts.publisher.ready, parts.outcomes.reachable))
    app.register_blueprint(docs.routes(app))
    openapi.complete(app)
    app.extensions["tekana.keys"] = keys = Keys(read, settings.api_key_cache_s)
    access.guard(app, keys)
    _handle_errors(app)
    app.wsgi_app = enveloped(app.wsgi_app)  # type: ignore[assignment, method-assign]
    return app


def _handle_errors(app: APIFlask) -> None:
    @app.errorhandler(Problem)
    def problem(error: Problem) -> Response:
        return error.response()

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        headers = {k: v for k, v in error.get_headers() if k.lower() not in _UNWANTED}
        return problem_of_status(error.code or 500, headers).response()

    @app.errorhandler(Exception)
    def unexpected(_error: Exception) -> Response:
        _LOG.exception("unexpected", extra={"request_id": request_id()})
        return Problem("internal_error").response()

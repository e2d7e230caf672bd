"""Whether the process lives, and whether it can do its work."""

from collections.abc import Callable

from apiflask import APIBlueprint
from flask import Response

from api import schemas
from api.access import PUBLIC, allowed_to
from api.answers import answer, to_json
from api.openapi import described
from api.problems import Problem
from api.queries import Query
from api.reading import Reading
from storage import reads


def routes(
    read: Reading, publisher_ready: Callable[[], bool], redis_reachable: Callable[[], bool]
) -> APIBlueprint:
    """The routes, asking what they are given."""
    blueprint = APIBlueprint("health", __name__, url_prefix="/v1/health", tag="Health")

    @blueprint.get("/live")
    @described(blueprint, {200: "It answers."}, schema=schemas.Health, problems=(422,), public=True)
    @allowed_to(PUBLIC)
    def live() -> Response:
        """Tell that the process answers, whatever it depends on."""
        Query()
        return answer(to_json({"status": "live"}))

    @blueprint.get("/ready")
    @described(
        blueprint,
        {200: "It can take instructions."},
        schema=schemas.Health,
        problems=(422,),
        public=True,
    )
    @allowed_to(PUBLIC)
    def ready() -> Response:
        """Tell whether instructions can be taken. Redis is told of, but not needed."""
        Query()
        checks = {
            "postgres": _postgres_answers(read),
            "rabbitmq": publisher_ready(),
            "redis": redis_reachable(),
        }
        shown = {name: "ok" if well else "away" for name, well in checks.items()}
        if not (checks["postgres"] and checks["rabbitmq"]):
            raise Problem("temporarily_unavailable", members={"checks": shown})
        return answer(to_json({"status": "ready", "checks": shown}))

    return blueprint


def _postgres_answers(read: Reading) -> bool:
    try:
        read(reads.ready)
    except Problem:
        return False
    return True

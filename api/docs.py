"""`/docs` and `/docs/queues`: the two documents for people.

Their assets are in the checkout, so that they work offline.
"""

from functools import cache
from pathlib import Path
from typing import Final

from apiflask import APIBlueprint, APIFlask
from flask import Response, send_from_directory

from api import asyncapi
from api.access import PUBLIC, allowed_to
from api.answers import answer, to_json
from api.queues_page import page as queues_page_of

_STATIC: Final = Path(__file__).parent / "static"

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tekana API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/assets/swagger-ui/swagger-ui.css">
</head>
<body>
<div id="document"></div>
<script src="/docs/assets/swagger-ui/swagger-ui-bundle.js"></script>
<script src="/docs/assets/docs.js"></script>
</body>
</html>
"""


def routes(app: APIFlask) -> APIBlueprint:
    """The documents, and the pages that show them. Each is made when it is first asked for."""
    blueprint = APIBlueprint("docs", __name__, enable_openapi=False)
    made: list[bytes] = []
    queues = cache(asyncapi.document)
    queues_page = cache(lambda: queues_page_of(queues()))

    @blueprint.get("/v1/openapi.json")
    @allowed_to(PUBLIC)
    def document() -> Response:
        if not made:
            made.append(to_json(app.spec))
        return answer(made[0])

    @blueprint.get("/docs")
    @allowed_to(PUBLIC)
    def page() -> Response:
        return _shown(_PAGE)

    @blueprint.get("/docs/queues")
    @allowed_to(PUBLIC)
    def page_of_queues() -> Response:
        return _shown(queues_page())

    @blueprint.get("/docs/queues/asyncapi.json")
    @allowed_to(PUBLIC)
    def document_of_queues() -> Response:
        return answer(to_json(queues()))

    @blueprint.get("/docs/assets/<path:name>")
    @allowed_to(PUBLIC)
    def asset(name: str) -> Response:
        return send_from_directory(_STATIC, name, max_age=86400)

    return blueprint


def _shown(page: str) -> Response:
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    return response

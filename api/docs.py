"""`/docs`: the OpenAPI document for people. Its assets are in the checkout, so it works offline."""

from pathlib import Path
from typing import Final

from apiflask import APIBlueprint, APIFlask
from flask import Response, send_from_directory

from api.access import PUBLIC, allowed_to
from api.answers import answer, to_json

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
    """The document, and the page that shows it. Made once, when first asked for."""
    blueprint = APIBlueprint("docs", __name__, enable_openapi=False)
    made: list[bytes] = []

    @blueprint.get("/v1/openapi.json")
    @allowed_to(PUBLIC)
    def document() -> Response:
        if not made:
            made.append(to_json(app.spec))
        return answer(made[0])

    @blueprint.get("/docs")
    @allowed_to(PUBLIC)
    def page() -> Response:
        response = Response(_PAGE, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    @blueprint.get("/docs/assets/<path:name>")
    @allowed_to(PUBLIC)
    def asset(name: str) -> Response:
        return send_from_directory(_STATIC, name, max_age=86400)

    return blueprint

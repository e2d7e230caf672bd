"""The least that a Flask application can do: what the server itself takes."""

from flask import Flask

from config.settings import Settings


def hello_application(_settings: Settings) -> Flask:
    """One route: no database, no broker, nothing."""
    app = Flask("hello")

    @app.get("/")
    def hello() -> str:
        return "hello"

    return app

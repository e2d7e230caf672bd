"""What a log line holds, and what it must not hold."""

import json
import logging
from typing import Any

import psycopg2
import pytest
from sqlalchemy import create_engine, text

from config.logs import JsonLines, described, without_passwords


def line(**fields: Any) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "tests", "levelname": "INFO", **fields})
    formatted = JsonLines().format(record)
    assert "\n" not in formatted
    found: dict[str, Any] = json.loads(formatted)
    return found


def test_a_record_is_one_json_object_with_its_extras() -> None:
    found = line(msg="decided %d", args=(3,), partition=5, instruction_id="i-1")

    assert found["message"] == "decided 3"
    assert (found["partition"], found["instruction_id"]) == (5, "i-1")
    assert found["level"] == "INFO"
    assert found["at"].endswith("Z")
    assert "args" not in found


def test_a_line_break_or_an_object_in_a_record_stays_one_line() -> None:
    found = line(msg="a\nb", thing=object())

    assert found["message"] == "a\nb"
    assert found["thing"].startswith("<object")


@pytest.mark.parametrize("scheme", ["amqp", "postgresql", "redis"])
def test_no_url_keeps_its_password(scheme: str) -> None:
    found = line(msg=f"Connected to {scheme}://tekana:s3cret@127.0.0.1:5672/x")

    assert "s3cret" not in json.dumps(found)
    assert without_passwords("http://host/path@x") == "http://host/path@x"


def test_an_exception_is_told_by_kind_and_place_without_what_it_quotes() -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("+250788000000 is no number")
    error = caught.value
    found = line(msg="failed", exc_info=(ValueError, error, error.__traceback__))

    assert found["error"] == ["ValueError"]
    assert "test_logs.py" in found["where"][-1]
    assert "250788" not in json.dumps(found)


def test_a_database_error_is_told_with_its_sqlstate_and_without_its_row(services: Any) -> None:
    engine = create_engine(services.database_url.replace("://", "+psycopg2://", 1))
    try:
        with engine.connect() as connection, pytest.raises(Exception, match="x") as caught:
            connection.execute(text("SELECT CAST('secret x' AS integer)"))
    finally:
        engine.dispose()

    assert described(caught.value) == "DataError 22P02"
    assert isinstance(caught.value.__cause__, psycopg2.Error)


def test_a_refused_connection_is_told_in_full() -> None:
    assert "Connection refused" in described(ConnectionRefusedError(111, "Connection refused"))

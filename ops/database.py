"""The ledger's database for an operator's command, with its faults told in an operator's words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ops.errors import OperatorError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from config.settings import Settings

_UNDEFINED_TABLE: Final = "42P01"


def operator_settings() -> "Settings":
    """The settings of the environment, or of the running stack. Raises: OperatorError."""
    from config.settings import Settings, SettingsError
    from ops.environment import settings_environment

    try:
        return Settings.from_env(settings_environment())
    except SettingsError as error:
        raise OperatorError(
            "The settings are incomplete.", "Set what is missing.", detail=str(error)
        ) from None


@contextmanager
def database(settings: "Settings | None" = None) -> Iterator["Engine"]:
    """An engine for the length of one command.

    Whatever goes wrong inside becomes an OperatorError: Postgres is away, it has no tables of
    ours, or somebody was asked for something that cannot be.
    """
    import psycopg2
    from sqlalchemy.exc import DBAPIError

    from storage.clients import ProvisioningError
    from storage.engine import operator_engine

    engine = operator_engine(settings or operator_settings())
    try:
        yield engine
    except ProvisioningError as error:
        raise OperatorError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    except (DBAPIError, psycopg2.Error) as error:
        # The second are the driver's own, of statements that run on its cursor.
        raise _told(error) from None
    finally:
        engine.dispose()


def _told(error: Exception) -> OperatorError:
    from storage.faults import Fault, classify, sqlstate

    # The first line says what happened; those that follow may quote data.
    detail = str(getattr(error, "orig", error)).strip().partition("\n")[0]
    state = sqlstate(error)
    if state == _UNDEFINED_TABLE:
        return OperatorError(
            "The database lacks tables of this release.", "Run ./tekana migrate", detail=detail
        )
    if state is None and classify(error) is Fault.TRANSIENT:
        return OperatorError(
            "Postgres does not let us in.",
            "Look at ./tekana status; check TEKANA_DATABASE_URL if you set it.",
            detail=detail,
        )
    return OperatorError(
        f"Postgres refused ({state}). Nothing was changed.",
        "Run it again; if that does not help, read the log of Postgres.",
        detail=detail,
    )

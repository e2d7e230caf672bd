"""Everything that differs between two deployments, and nothing else."""

import os
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AmqpDsn,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PostgresDsn,
    RedisDsn,
    SecretStr,
    ValidationError,
    model_validator,
)

from config.secret_keys import parse_secret_keys

PREFIX: Final = "TEKANA_"

CLIENT_VARIABLES: Final = frozenset({"TEKANA_API_URL", "TEKANA_API_KEY", "TEKANA_FLOWER_URL"})
"""Printed by `./tekana env` for those who call the system; no setting of the system itself."""

DEVELOPMENT_MARK: Final = "development-only"
"""Every secret that development makes up contains this; production refuses to start with it."""


class SettingsError(ValueError):
    """A variable is missing, misspelt or of no use."""


class Settings(BaseModel):
    """Read once at the start of a process; frozen.

    Each field is the variable of the same name with the prefix TEKANA_. Times say their
    unit at the end of the name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    environment: Literal["production", "development"] = Field(
        "production", description="`development` allows made-up secrets."
    )
    database_url: SecretStr = Field(description="postgresql://user:password@host:port/database")
    broker_url: SecretStr = Field(description="amqp://user:password@host:port/vhost")
    redis_url: SecretStr = Field(description="redis://:password@host:port/0")

    partitions: Annotated[int, Field(ge=1, le=1024)] = Field(
        8,
        description="Fixed when the database is made; a process with another count refuses to run.",
    )
    batch_size: Annotated[int, Field(ge=1, le=5000)] = Field(
        500, description="The most instructions that one transaction posts."
    )
    linger_ms: Annotated[int, Field(ge=0, le=100)] = Field(
        2,
        description="How long a batch waits for company, and up to eleven times as long in a "
        "ledger worker that is busy. More fills batches, and delays.",
    )
    outcome_ttl_s: Annotated[int, Field(ge=60)] = Field(
        3600, description="How long Redis remembers an instruction. Postgres remembers for ever."
    )
    events_per_s: Annotated[int, Field(ge=0)] = Field(
        50,
        description="Instructions per second that each worker shows Flower in full; "
        "above that it shows a sample of this size.",
    )
    statement_timeout_ms: Annotated[int, Field(ge=100)] = Field(
        10_000, description="Bounds a statement of the ledger, and so how long a batch can take."
    )
    confirm_timeout_s: Annotated[float, Field(gt=0, le=30)] = Field(
        2.5, description="How long a POST waits for the broker before it answers 503."
    )
    api_host: str = Field("127.0.0.1", description="Address that the API listens on.")
    api_port: Annotated[int, Field(ge=1, le=65535)] = Field(8080, description="The API's port.")
    api_threads: Annotated[int, Field(ge=2, le=512)] = Field(
        48, description="Requests that one API process serves at once."
    )
    api_waiters: Annotated[int, Field(ge=0, le=500)] = Field(
        32, description="Of these, how many may wait for an outcome (`Prefer: wait`)."
    )
    api_key_cache_s: Annotated[float, Field(ge=0, le=300)] = Field(
        5.0, description="How long a key's look-up is believed, and so how late it is revoked."
    )
    flower_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        5555, description="Flower's port, on the API's address."
    )
    flower_password: SecretStr | None = Field(
        None, description="Password of Flower's user `operator`; Flower does not start without."
    )
    secret_keys: SecretStr | None = Field(
        None,
        description="`id:base64[,older:base64…]`: what callbacks are signed with is encrypted by "
        "the first of these keys of 32 bytes, and read by any. Needed for callbacks alone.",
    )
    callback_threads: Annotated[int, Field(ge=1, le=512)] = Field(
        32, description="Endpoints that one callback worker serves at once."
    )
    callback_allow_loopback: bool = Field(
        False, description="Whether callbacks may go to this machine by http; development only."
    )
    broker_admin_url: SecretStr | None = Field(
        None,
        description="http://user:password@host:15672, the broker's management API for a user with "
        "the tag `administrator`. Needed for the `partner` commands alone.",
    )
    partner_broker_url: str | None = Field(
        None,
        description="amqps://host:port/vhost, the broker as partners reach it, without a user. "
        "Not set: as in `TEKANA_BROKER_URL`.",
    )
    callback_ca_file: str | None = Field(
        None,
        description="Certificates that callbacks trust besides the system's, in one PEM file.",
    )
    ready_file: str | None = Field(
        None,
        description="A file that a worker touches once it consumes, and beat whenever it ticks.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The least urgent lines that are logged."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, scheme in (
            ("database_url", PostgresDsn),
            ("broker_url", AmqpDsn),
            ("redis_url", RedisDsn),
            ("broker_admin_url", HttpUrl),
            ("partner_broker_url", AmqpDsn),
        ):
            given = getattr(self, name)
            if given is None:
                continue
            try:
                scheme(given.get_secret_value() if isinstance(given, SecretStr) else given)
            except ValidationError:
                raise ValueError(f"{PREFIX}{name.upper()} is not such a URL") from None
        if self.api_waiters >= self.api_threads:
            raise ValueError("TEKANA_API_WAITERS must be less than TEKANA_API_THREADS")
        self._check_secret_keys()
        if self.environment == "production":
            self._refuse_development_secrets()
            if self.callback_allow_loopback:
                raise ValueError("TEKANA_CALLBACK_ALLOW_LOOPBACK is for development alone")
        return self

    def _check_secret_keys(self) -> None:
        if self.secret_keys is None:
            return
        try:
            parse_secret_keys(self.secret_keys.get_secret_value())
        except ValueError as error:
            raise ValueError(f"TEKANA_SECRET_KEYS {error}") from None

    def _refuse_development_secrets(self) -> None:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr) and DEVELOPMENT_MARK in value.get_secret_value():
                raise ValueError(
                    f"{PREFIX}{name.upper()} holds a development secret; set one of your own, "
                    "or TEKANA_ENVIRONMENT=development"
                )

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read the TEKANA_* variables.

        Raises: SettingsError, naming each variable that is missing, misspelt or of no use,
        and never its value.
        """
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in env.items()
            if name.startswith(PREFIX) and name not in CLIENT_VARIABLES
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError("; ".join(_explained(error))) from None


def _explained(error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        variable = PREFIX + "_".join(map(str, fault["loc"])).upper() if fault["loc"] else ""
        match fault["type"]:
            case "missing":
                lines.append(f"{variable} is not set")
            case "extra_forbidden":
                lines.append(f"{variable} is no setting of ours; is it misspelt?")
            case _:
                lines.append(f"{variable} {fault['msg']}".strip())
    return lines

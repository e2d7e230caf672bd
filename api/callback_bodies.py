"""What a client says about a callback endpoint. Decoding is validation."""

from typing import Annotated, Any, Final, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from api.bodies import read_json
from api.problems import Problem
from domain.addresses import URL_LENGTH_MAX, check_url
from domain.problems import BODY_BYTES_MAX, field_errors

CallbackType = Literal[
    "instruction.succeeded", "instruction.rejected", "instruction.parked", "entry.posted"
]

EVERY_TYPE: Final[list[CallbackType]] = list(get_args(CallbackType))
"""Those of `domain.events.CALLBACK_TYPES`, spelled out for the types."""

_B = TypeVar("_B", bound=BaseModel)

_ALLOW_LOOPBACK: Final = "allow_loopback"


def _callable(url: str, info: ValidationInfo) -> str:
    context = info.context or {}
    refusal = check_url(url, allow_loopback=context.get(_ALLOW_LOOPBACK, False))
    if refusal is not None:
        raise ValueError(refusal)
    return url


def _each_once(events: list[CallbackType]) -> list[CallbackType]:
    return [event for event in EVERY_TYPE if event in events]


Url = Annotated[
    str,
    AfterValidator(_callable),
    WithJsonSchema(
        {
            "type": "string",
            "format": "uri",
            "maxLength": URL_LENGTH_MAX,
            "description": "https, to port 443 of a public address.",
        }
    ),
]

Events = Annotated[list[CallbackType], Field(min_length=1), AfterValidator(_each_once)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class NewCallbackEndpoint(_Body):
    """Where to tell you, and of what; of everything if `events` is absent."""

    url: Url
    events: Events | None = None


class CallbackEndpointChange(_Body):
    """What is to be different."""

    url: Url | None = None
    events: Events | None = None
    enabled: bool | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.url is None and self.events is None and self.enabled is None:
            raise ValueError("must name url, events or enabled")
        return self


def body_as(kind: type[_B], *, allow_loopback: bool) -> _B:
    """The body of the request in hand. Raises: Problem 400, 413, 415 or 422."""
    body: Any = read_json(BODY_BYTES_MAX)
    try:
        return kind.model_validate(body, context={_ALLOW_LOOPBACK: allow_loopback})
    except ValidationError as error:
        raise Problem("invalid_body", errors=field_errors(error)) from None

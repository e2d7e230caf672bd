"""What a partner publishes: an instruction in an envelope, before its data is looked at."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema


def _spoken(version: int) -> int:
    if version != 1:
        raise ValueError("must be 1")
    return version


class PartnerMessage(BaseModel):
    """The body of a partner's message. `data` is one of `domain.instructions.DATA`."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    version: Annotated[
        int, AfterValidator(_spoken), WithJsonSchema({"type": "integer", "const": 1})
    ]
    idempotency_key: Any
    type: Literal["customer.open", "wallet.open", "deposit", "withdrawal", "transfer"]
    data: Any

"""The orders that change the books, and how they travel.

A body that the types accept is well-formed; whether it may happen is decided when it is
posted. The same types decode what a client sends to the API and what a worker reads from
a partition, so there is one contract and one place to change it.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from domain import identity
from domain.fields import (
    Amount,
    ChosenId,
    CountryCode,
    CurrencyCode,
    Email,
    Id,
    IdempotencyKey,
    LegacyId,
    Metadata,
    Moment,
    Name,
    Phone,
    Reference,
    Timestamp,
)

_STRICT: Final = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Data(BaseModel):
    """What a client says: the body of a POST, the `data` of a queue message.

    What may tell of a person is left out of a repr, and so out of every log.
    """

    model_config = _STRICT

    def given(self) -> dict[str, Any]:
        """The decoded data in JSON's terms, with absent optional fields left out."""
        return self.model_dump(mode="json", exclude_none=True)


class CustomerOpenData(Data):
    """A new customer, with first wallets if currencies are named."""

    customer_id: ChosenId | None = None
    name: Name = Field(repr=False)
    phone: Phone | None = Field(None, repr=False)
    email: Email | None = Field(None, repr=False)
    country: CountryCode
    legacy_id: LegacyId | None = None
    currencies: Annotated[list[CurrencyCode], Field(min_length=1, max_length=20)] | None = None

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.phone is None and self.email is None:
            raise ValueError("a customer needs a phone or an email")
        return self


class WalletOpenData(Data):
    """A new wallet of a customer; several in one currency are fine."""

    wallet_id: ChosenId | None = None
    customer_id: Id
    currency: CurrencyCode
    legacy_id: LegacyId | None = None


class SettlementData(Data):
    """Money that comes in to a wallet or goes out of it through the client's settlement account."""

    wallet_id: Id
    amount: Amount
    currency: CurrencyCode
    reference: Reference | None = Field(None, repr=False)
    metadata: Metadata | None = Field(None, repr=False)
    expires_at: Timestamp | None = None


class TransferData(Data):
    """Money that moves from one wallet to another."""

    source_wallet_id: Id
    destination_wallet_id: Id
    amount: Amount
    currency: CurrencyCode
    reference: Reference | None = Field(None, repr=False)
    metadata: Metadata | None = Field(None, repr=False)
    expires_at: Timestamp | None = None


class _Instruction(BaseModel):
    """What every instruction carries: who says it, under which key, since when."""

    model_config = _STRICT

    version: Literal[1] = 1
    client_id: Annotated[int, Field(ge=1, le=2**31 - 1)]
    idempotency_key: IdempotencyKey
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    submitted_at: Moment

    @cached_property
    def id(self) -> str:
        """Derived from client and key, so that every repeat is the same instruction."""
        return identity.instruction_id(self.client_id, self.idempotency_key)


class CustomerOpen(_Instruction):
    """Open a customer and their first wallets."""

    type: Literal["customer.open"] = "customer.open"
    data: CustomerOpenData

    @property
    def customer_id(self) -> str:
        """The id the caller chose, or else one of ours."""
        return self.data.customer_id or identity.derived_id("customer", self.id)

    @property
    def partition_key(self) -> str:
        """Customers are ordered by their own id."""
        return self.customer_id

    @property
    def wallet_ids(self) -> tuple[str, ...]:
        """The first wallets, which it opens."""
        return tuple(wallet_id for wallet_id, _ in self.wallets())

    def wallets(self) -> Iterator[tuple[str, str]]:
        """Id and currency of each first wallet, in the order of the currencies."""
        for place, currency in enumerate(self.data.currencies or ()):
            yield identity.derived_id("wallet", self.id, place), currency

    def completed_data(self) -> dict[str, Any]:
        """The data as given, with the ids we chose."""
        return self.data.given() | {"customer_id": self.customer_id}


class WalletOpen(_Instruction):
    """Open a wallet for a customer."""

    type: Literal["wallet.open"] = "wallet.open"
    data: WalletOpenData

    @property
    def wallet_id(self) -> str:
        """The id the caller chose, or else one of ours."""
        return self.data.wallet_id or identity.derived_id("wallet", self.id)

    @property
    def partition_key(self) -> str:
        """An opening comes before all else that its wallet does."""
        return self.wallet_id

    @property
    def wallet_ids(self) -> tuple[str, ...]:
        """The wallet that it opens."""
        return (self.wallet_id,)

    def completed_data(self) -> dict[str, Any]:
        """The data as given, with the id we chose."""
        return self.data.given() | {"wallet_id": self.wallet_id}


class _Settlement(_Instruction):
    data: SettlementData

    @property
    def partition_key(self) -> str:
        """Ordered with everything else that the customer's wallet does."""
        return self.data.wallet_id

    @property
    def wallet_ids(self) -> tuple[str, ...]:
        """The customer's wallet. The settlement account is named by nobody."""
        return (self.data.wallet_id,)

    def completed_data(self) -> dict[str, Any]:
        """The data as given: there is no id to choose."""
        return self.data.given()


class Deposit(_Settlement):
    """Money comes in: the client's settlement account is debited, the wallet credited."""

    type: Literal["deposit"] = "deposit"


class Withdrawal(_Settlement):
    """Money goes out: the wallet is debited, the client's settlement account credited."""

    type: Literal["withdrawal"] = "withdrawal"


class Transfer(_Instruction):
    """Money moves between two wallets."""

    type: Literal["transfer"] = "transfer"
    data: TransferData

    @property
    def partition_key(self) -> str:
        """Ordered with everything else that debits the source."""
        return self.data.source_wallet_id

    @property
    def wallet_ids(self) -> tuple[str, ...]:
        """Who pays and who is paid."""
        return self.data.source_wallet_id, self.data.destination_wallet_id

    def completed_data(self) -> dict[str, Any]:
        """The data as given: there is no id to choose."""
        return self.data.given()


Opening = CustomerOpen | WalletOpen
Settlement = Deposit | Withdrawal
Money = Settlement | Transfer
Instruction = Opening | Money

_OPENINGS: Final = frozenset((CustomerOpen, WalletOpen))
_SETTLEMENTS: Final = frozenset((Deposit, Withdrawal))


# Asked of every instruction, most of them transfers: to say no, `isinstance` takes pydantic's
# classes five times as long.
def is_opening(instruction: Instruction) -> TypeGuard[Opening]:
    """Whether it opens something."""
    return type(instruction) in _OPENINGS


def is_settlement(instruction: Instruction) -> TypeGuard[Settlement]:
    """Whether money comes in or goes out by it."""
    return type(instruction) in _SETTLEMENTS


def is_money(instruction: Instruction) -> TypeGuard[Money]:
    """Whether it moves money."""
    return type(instruction) not in _OPENINGS


INSTRUCTIONS: Final[dict[str, type[Instruction]]] = {
    "customer.open": CustomerOpen,
    "wallet.open": WalletOpen,
    "deposit": Deposit,
    "withdrawal": Withdrawal,
    "transfer": Transfer,
}
"""Every instruction type by its public name."""

DATA: Final[dict[str, type[Data]]] = {
    "customer.open": CustomerOpenData,
    "wallet.open": WalletOpenData,
    "deposit": SettlementData,
    "withdrawal": SettlementData,
    "transfer": TransferData,
}
"""What each type's `data` must look like."""

SCOPES: Final[dict[str, str]] = {
    "customer.open": "customers:write",
    "wallet.open": "wallets:write",
    "deposit": "deposits:write",
    "withdrawal": "withdrawals:write",
    "transfer": "transfers:write",
}
"""The scope that each type asks of its client."""

_ENVELOPE: Final[TypeAdapter[Instruction]] = TypeAdapter(
    Annotated[Instruction, Field(discriminator="type")]
)


class Undecodable(ValueError):
    """A message is not an instruction that this release wrote or understands."""


def instruct(
    client_id: int, idempotency_key: str, data: Data, instruction_type: str, submitted_at: str
) -> Instruction:
    """Make an instruction of data that has been decoded, at whichever door it came in.

    `submitted_at` is as `timestamp_text` writes it.

    Raises: pydantic.ValidationError if the key is not a valid idempotency key.
    """
    return INSTRUCTIONS[instruction_type].model_validate(
        {
            "client_id": client_id,
            "idempotency_key": idempotency_key,
            "fingerprint": identity.fingerprint(instruction_type, data.given()),
            "submitted_at": submitted_at,
            "data": data,
        }
    )


def encode(instruction: Instruction) -> bytes:
    """The instruction as it travels on a partition queue: one JSON object."""
    return instruction.model_dump_json(exclude_none=True).encode()


def decode(body: bytes) -> Instruction:
    """The inverse of `encode`, for bytes of any origin.

    Raises: Undecodable, with a reason that repeats nothing of the message.
    """
    try:
        return _ENVELOPE.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(_own_word, first["loc"])) or "message"
        raise Undecodable(f"{where}: {first['type']}") from None


def _own_word(part: int | str) -> str:
    """One step of the way to a fault. What is no name of ours is a caller's own word."""
    return str(part) if isinstance(part, int) or part in _NAMES else "…"


_NAMES: Final = frozenset(INSTRUCTIONS).union(
    *(model.model_fields for model in (*INSTRUCTIONS.values(), *DATA.values()))
)

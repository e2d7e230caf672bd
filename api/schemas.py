"""What answers look like, for the OpenAPI document; tests hold the answers to it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.callback_bodies import CallbackType
from domain.events import EventType
from domain.fields import CurrencyCode, Id, Timestamp
from domain.rejections import Code

Status = Literal["queued", "parked", "succeeded", "rejected"]
Type = Literal["customer.open", "wallet.open", "deposit", "withdrawal", "transfer"]
Exponent = Annotated[int, Field(ge=0, le=4, description="Decimal digits of the minor unit.")]
Minor = Annotated[int, Field(description="Minor units of the currency.")]
Seq = Annotated[int, Field(ge=0, description="Counts a wallet's entries from 1 without gaps.")]


class _View(BaseModel):
    """Readers ignore what they do not know, so other fields may be added."""

    model_config = ConfigDict(extra="allow")


class FieldError(_View):
    """What is wrong with one field of the body, or one parameter of the query."""

    pointer: str | None = Field(None, description="A JSON pointer into the body.")
    parameter: str | None = Field(None, description="The name of a query parameter.")
    detail: str


class Problem(_View):
    """RFC 9457."""

    type: Annotated[str, Field(pattern="^urn:tekana:problem:[a-z_]+$")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    code: str
    request_id: str
    detail: str | None = None
    errors: list[FieldError] | None = None


class ResultEntry(_View):
    """One side of the posted amount, of a wallet that the caller may read."""

    wallet_id: Id
    seq: Seq
    amount: Minor
    balance: Minor
    currency: CurrencyCode
    exponent: Exponent


class ResultWallet(_View):
    """A wallet that was opened with its customer."""

    wallet_id: Id
    currency: CurrencyCode
    exponent: Exponent


class Result(_View):
    """`entries` of money that moved; `customer_id` and `wallets`, or `wallet_id`, of openings."""

    entries: list[ResultEntry] | None = None
    customer_id: Id | None = None
    wallets: list[ResultWallet] | None = None
    wallet_id: Id | None = None


class Rejection(_View):
    """Why it was refused, for ever."""

    code: Code
    detail: str
    wallet_id: Id | None = None
    customer_id: Id | None = None
    available: Minor | None = None
    required: Minor | None = None


class Instruction(_View):
    """An instruction; once decided with `decided_at`, and `result` or `rejection`."""

    id: Id
    idempotency_key: str
    type: Type
    status: Status
    submitted_at: Timestamp
    data: dict[str, Any] = Field(description="As given, with the ids that we chose.")
    decided_at: Timestamp | None = None
    result: Result | None = None
    rejection: Rejection | None = None


class BatchItem(_View):
    """What became of one item: where it stands, or the problem for which it was refused."""

    idempotency_key: str | None
    status: Literal["queued", "parked", "succeeded", "rejected", "refused"]
    id: Id | None = None
    data: dict[str, Any] | None = None
    problem: Problem | None = None


class BatchAnswer(_View):
    """One answer for each item, in their order."""

    items: list[BatchItem]


class Customer(_View):
    """A customer that the caller opened."""

    id: Id
    name: str
    phone: str | None
    email: str | None
    country: str
    legacy_id: str | None
    status: str
    created_at: Timestamp


class Wallet(_View):
    """A wallet that the caller opened or was granted."""

    id: Id
    customer_id: Id
    legacy_id: str | None
    currency: CurrencyCode
    exponent: Exponent
    balance: Minor
    available: Annotated[int, Field(ge=0, description="What could be spent now.")]
    status: Literal["open", "frozen", "closed"]
    seq: Seq
    opened_at: Timestamp


class Entry(_View):
    """One change of a wallet's balance."""

    seq: Seq
    amount: Minor
    balance: Minor
    currency: CurrencyCode
    exponent: Exponent
    instruction_id: Id
    type: Type
    counterparty_wallet_id: Id | None = Field(description="Null for settlement.")
    reference: str | None
    metadata: dict[str, str] | None = Field(description="Seen by the submitter only.")
    posted_at: Timestamp


class CustomerPage(_View):
    """A page of customers."""

    data: list[Customer]
    next_cursor: str | None


class WalletPage(_View):
    """A page of wallets."""

    data: list[Wallet]
    next_cursor: str | None


class EntryPage(_View):
    """A page of entries."""

    data: list[Entry]
    next_cursor: str | None


class Event(_View):
    """Something that happened. The same id is the same event, however often it is told."""

    version: Literal[1]
    id: Id
    type: EventType
    timestamp: Timestamp
    data: dict[str, Any] = Field(
        description="The instruction as polled, without personal data; for `entry.posted` the "
        "entry as the list of entries shows it, with its `wallet_id`."
    )


class EventPage(_View):
    """A page of events."""

    data: list[Event]
    next_cursor: str = Field(description="Always given: ask again later with it.")


class CallbackEndpoint(_View):
    """Where callbacks are sent, and how that goes."""

    id: Id
    url: str
    events: list[CallbackType]
    enabled: bool
    failing_since: Timestamp | None
    disabled_at: Timestamp | None
    disabled_reason: str | None
    created_at: Timestamp


class CallbackEndpointWithSecret(CallbackEndpoint):
    """An endpoint whose secret was just made: this is the only time that it is shown."""

    secret: Annotated[str, Field(pattern="^whsec_[A-Za-z0-9+/]{43}=$")]


class Attempt(_View):
    """One attempt; or, with `redeliver`, that somebody asked for a new round of them."""

    at: Timestamp
    duration_ms: Annotated[int, Field(ge=0)] | None = None
    status: int | None = Field(None, description="Of the receiver's answer.")
    error: str | None = Field(None, description="Why there was no answer.")
    redeliver: Literal["client", "operator"] | None = Field(None, description="Who asked for it.")


class Delivery(_View):
    """One event for one endpoint."""

    id: Id = Field(description="The event's.")
    type: CallbackType
    timestamp: Timestamp = Field(description="When it happened.")
    status: Literal["pending", "delivered", "exhausted"]
    next_attempt_at: Timestamp | None
    delivered_at: Timestamp | None
    attempts: list[Attempt]


class CallbackEndpointPage(_View):
    """A page of endpoints."""

    data: list[CallbackEndpoint]
    next_cursor: str | None


class DeliveryPage(_View):
    """A page of deliveries."""

    data: list[Delivery]
    next_cursor: str | None


class Health(_View):
    """The state of the process, and of what it depends on."""

    status: Literal["live", "ready"]
    checks: dict[str, Literal["ok", "away"]] | None = None

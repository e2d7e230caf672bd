"""The kinds of field that bodies are made of. Decoding is validation."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import pycountry
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from domain.money import AMOUNT_MINOR_MAX, EXPONENTS

METADATA_PAIRS_MAX: Final = 16
METADATA_BYTES_MAX: Final = 2048

_COUNTRIES: Final = frozenset(country.alpha_2 for country in pycountry.countries)
_RFC_3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def timestamp_text(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as every time is shown."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{utc.isoformat(timespec='milliseconds')[:-6]}Z"


def _parse_timestamp(value: object) -> datetime:
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 time with its zone, as text")
    try:
        # Python reads at most six digits of a second's fraction.
        parsed = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.upper()))
        moment = parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a time that exists") from None
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _known_currency(code: str) -> str:
    if code not in EXPONENTS:
        raise ValueError("is not an ISO 4217 currency code")
    return code


def _known_country(code: str) -> str:
    if code not in _COUNTRIES:
        raise ValueError("is not an ISO 3166-1 alpha-2 country code")
    return code


def _not_ours(id_: str) -> str:
    """Ids that we choose are computed from names that others may guess: nobody takes them first."""
    if id_[14] == "8":
        raise ValueError("must not be a UUID of version 8: those are ours to choose")
    return id_


def _bounded_metadata(metadata: dict[str, str]) -> dict[str, str]:
    if sum(len(k.encode()) + len(v.encode()) for k, v in metadata.items()) > METADATA_BYTES_MAX:
        raise ValueError(f"must hold at most {METADATA_BYTES_MAX} bytes")
    return metadata


Id = Annotated[
    str,
    StringConstraints(
        pattern=r"(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        to_lower=True,
    ),
    WithJsonSchema({"type": "string", "format": "uuid"}),
]
"""A UUID as text, kept in lower case."""

ChosenId = Annotated[Id, AfterValidator(_not_ours)]
"""An id that a caller gives to something new."""

Amount = Annotated[int, Field(ge=1, le=AMOUNT_MINOR_MAX)]
"""Minor units of the currency."""

CurrencyCode = Annotated[
    str,
    AfterValidator(_known_currency),
    WithJsonSchema({"type": "string", "enum": sorted(EXPONENTS), "description": "ISO 4217"}),
]

CountryCode = Annotated[
    str,
    AfterValidator(_known_country),
    WithJsonSchema(
        {"type": "string", "pattern": "^[A-Z]{2}$", "description": "ISO 3166-1 alpha-2"}
    ),
]

Timestamp = Annotated[
    datetime,
    BeforeValidator(_parse_timestamp),
    PlainSerializer(timestamp_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""RFC 3339 with a zone; kept in UTC to the millisecond."""

Moment = Annotated[
    str,
    StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time that we noted ourselves, as `timestamp_text` writes it. It stays text on its way:
nobody calculates with it, and reading and writing it again would cost more than posting."""

IdempotencyKey = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,255}$")]
"""1 to 255 visible ASCII characters."""

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")
]
Phone = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$")]
"""E.164."""

Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")
]
"""Kept as given. Only a message sent there could tell more than this pattern does."""

LegacyId = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=140, pattern=r"^[^\x00]*$")]

Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$")],
        Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")],
    ],
    Field(max_length=METADATA_PAIRS_MAX),
    AfterValidator(_bounded_metadata),
]
"""Up to 16 pairs of text, 2 KiB in all; seen by the submitter only."""

"""One message of a partition queue as it came, and what can be read from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from domain.identity import partition_of
from domain.instructions import Instruction, Undecodable, decode

UNREADABLE: Final = "unreadable"
"""What Flower calls a message that names no type."""

_HEADER_CHARACTERS: Final = 500


class Delivery(NamedTuple):
    """A message with the tag it is acknowledged by, and when it came in seconds since the epoch.

    `header` is its content header, which hardly ever has to be read.
    """

    tag: int
    body: bytes
    header: bytes
    came_at: float

    def __repr__(self) -> str:
        """Without the body, which may tell of a person."""
        return f"Delivery(tag={self.tag}, came_at={self.came_at})"


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a message cannot be decided here, whatever state the books are in."""

    reason: str
    instruction_id: str | None = None
    type: str = UNREADABLE


def read(body: bytes, partition: int, partitions: int) -> Instruction | Misfit:
    """The instruction in a body of any origin, if it is one and this is its partition."""
    try:
        instruction = decode(body)
        right = partition_of(instruction.partition_key, partitions)
        instruction_id = instruction.id
    except Undecodable as error:
        return Misfit(f"undecodable: {error}")
    except Exception as error:  # noqa: BLE001  No message may end the process.
        return Misfit(f"undecodable: {type(error).__name__}")
    if right != partition:
        return Misfit("wrong partition", instruction_id, instruction.type)
    return instruction


def storable_headers(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Content type, encoding and headers of a message, made fit for a JSON column.

    Headers are anybody's: bytes, NUL, lone surrogates, not-a-number. They are kept for a
    person to read, so they become ASCII text of bounded length.
    """
    headers = properties.get("application_headers")
    found = {_text(name): _plain(value) for name, value in (headers or {}).items()}
    for name in ("content_type", "content_encoding", "message_id", "user_id", "app_id"):
        if name in properties:
            found[name] = _plain(properties[name])
    return found


def _plain(value: object) -> str | int | None:
    return value if value is None or isinstance(value, int) else _text(value)


def _text(value: object) -> str:
    try:
        text = value if isinstance(value, str) else repr(value)
    except RecursionError:
        text = "nested too deeply"
    printable = text.encode("ascii", "backslashreplace").decode().replace("\0", r"\x00")
    return printable[:_HEADER_CHARACTERS]

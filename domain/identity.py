"""Names that are computed, not handed out: ids, fingerprints, partitions.

Ids are UUIDs in canonical lower-case text. They stay text on their way through the
system, because turning them into objects and back cost more than posting the transfer
(`docs/decisions/0003-ids-are-text.md`).
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def derived_id(*parts: object) -> str:
    """Name a thing by what it is made of: the same parts give the same id, for ever.

    A version 8 UUID (RFC 9562 section 5.8) over the SHA-256 of the parts.
    """
    digest = bytearray(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def instruction_id(client_id: int, idempotency_key: str) -> str:
    """The one instruction that this client can mean by this key, whichever door it uses."""
    return derived_id("instruction", client_id, idempotency_key)


def fingerprint(instruction_type: str, data: Mapping[str, Any]) -> str:
    """Tell two bodies under one key apart: 32 hexadecimal digits over type and decoded data.

    `data` is in JSON's terms, with absent optional fields left out. The bytes hashed must
    never change, because keys never expire: `tests/domain/test_identity.py` holds them.
    """
    canonical = _CANONICAL.encode([instruction_type, data])
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def partition_of(key: str, partitions: int) -> int:
    """The partition, from 0, that decides all instructions with this key (a wallet or customer id).

    CRC-32 is the same in every language and release. RabbitMQ's consistent hash is not
    used: it can move a key to another queue when the broker restarts.
    """
    return zlib.crc32(key.encode()) % partitions

"""What callbacks are signed with, and how it is kept: encrypted, each for its own endpoint.

Why so: `docs/decisions/0061-how-secrets-are-kept.md`.
"""

import os
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from config.secret_keys import parse_secret_keys
from domain.signatures import SECRET_BYTES

_NONCE_BYTES: Final = 12


class SecretUnreadable(RuntimeError):
    """A stored secret cannot be decrypted: its key is not among the settings', or it is not the
    one that was stored for this endpoint.
    """


class Sealed(NamedTuple):
    """An encrypted secret, and the name of the key that opens it."""

    key_id: str
    ciphertext: bytes


class SecretKeys:
    """The keys of the settings. The first one encrypts, every one decrypts.

    A key is in no repr and in no error.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.current_id = next(iter(keys))
        """The key that encrypts."""

    @classmethod
    def from_setting(cls, text: str) -> Self:
        """The keys as `TEKANA_SECRET_KEYS` writes them. Raises: ValueError."""
        return cls(parse_secret_keys(text))

    def __repr__(self) -> str:
        return f"SecretKeys({', '.join(self._ciphers)})"

    def encrypt(self, secret: bytes, endpoint_id: str) -> Sealed:
        """Encrypt a secret so that it is of use for this endpoint alone."""
        nonce = os.urandom(_NONCE_BYTES)
        bound = _bound_to(endpoint_id, self.current_id)
        encrypted = self._ciphers[self.current_id].encrypt(nonce, secret, bound)
        return Sealed(self.current_id, nonce + encrypted)

    def decrypt(self, sealed: Sealed, endpoint_id: str) -> bytes:
        """The secret that was encrypted for this endpoint. Raises: SecretUnreadable."""
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise SecretUnreadable(
                f"the secret of endpoint {endpoint_id} needs the key {sealed.key_id}, which "
                "TEKANA_SECRET_KEYS does not hold"
            )
        nonce, encrypted = sealed.ciphertext[:_NONCE_BYTES], sealed.ciphertext[_NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, encrypted, _bound_to(endpoint_id, sealed.key_id))
        except (InvalidTag, ValueError):
            raise SecretUnreadable(
                f"the secret of endpoint {endpoint_id} is not what its key {sealed.key_id} made"
            ) from None


def make_secret() -> bytes:
    """A new secret for signing."""
    return os.urandom(SECRET_BYTES)


def _bound_to(endpoint_id: str, key_id: str) -> bytes:
    return f"{endpoint_id}\0{key_id}".encode()

"""Sealing message bodies, so that a broker and whoever reads its memory see only noise.

`Fernet <https://github.com/fernet/spec/blob/master/Spec.md>`_ (AES-128-CBC and HMAC-SHA256)
by the ``cryptography`` package, which is imported only when keys are configured. Any text or
bytes may be a key: it is hashed with SHA-256 to the 32 bytes that Fernet needs, as
channels_redis does.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Protocol

from channel_layers.exceptions import OptionError

__all__ = ["CannotOpen", "FernetSeal", "NoSeal", "Seal", "seal_for"]


class CannotOpen(Exception):
    """The body was not sealed with any of the known keys, or was altered on its way."""


class Seal(Protocol):
    """Turns bodies into sealed ones and back."""

    def seal(self, body: bytes) -> bytes:
        """The body as it may be shown to the broker."""

    def open(self, sealed: bytes) -> bytes:
        """What :meth:`seal` was given; CannotOpen if no key fits."""


class NoSeal:
    """Bodies travel as they are."""

    def seal(self, body: bytes) -> bytes:
        """The same body."""
        return body

    def open(self, sealed: bytes) -> bytes:
        """The same body."""
        return sealed


class FernetSeal:
    """Seals with the first key, opens with any: keys are changed without losing a message.

    To change a key: deploy ``[old, new]`` everywhere, then ``[new, old]``, then ``[new]``.

    Args:
        keys: at least one; the newest first.
    """

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        try:
            from cryptography.fernet import Fernet, InvalidToken, MultiFernet
        except ImportError as error:
            raise OptionError(
                "symmetric_encryption_keys needs the package 'cryptography': "
                "pip install cryptography."
            ) from error
        self._fernet = MultiFernet([Fernet(_fernet_key(key)) for key in keys])
        self._invalid = InvalidToken

    def seal(self, body: bytes) -> bytes:
        """The body, encrypted and signed with the newest key."""
        # Fernet's text form is base64; a third less travels without it.
        return base64.urlsafe_b64decode(self._fernet.encrypt(body))

    def open(self, sealed: bytes) -> bytes:
        """What :meth:`seal` was given.

        Raises:
            CannotOpen: no key fits, or the bytes were altered.
        """
        try:
            return self._fernet.decrypt(base64.urlsafe_b64encode(sealed))
        except self._invalid as error:
            raise CannotOpen("sealed with an unknown key, or altered") from error


def seal_for(keys: Sequence[str | bytes]) -> Seal:
    """The seal for the option ``symmetric_encryption_keys``; no keys, no seal."""
    return FernetSeal(keys) if keys else NoSeal()


def _fernet_key(key: str | bytes) -> bytes:
    raw = key.encode() if isinstance(key, str) else key
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest())

"""Summaries that their callers cannot read: what encrypts their envelopes (codecs/compaction.py) with `compaction.seal_key`.

An envelope is the key's id, a nonce and the output of AES-256-GCM. Any replica with the key opens it. Of two keys the first encrypts;
the second is for what was made before a rotation.
"""

from __future__ import annotations

import hashlib
import os

PACKAGES = ("cryptography",)  # of the extra dragoman[seal]
_ID, _NONCE = 4, 12  # bytes


class Keys:
    """keys: of 32 bytes each; there is one."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._wrong = InvalidTag
        self._ciphers = {hashlib.sha256(key).digest()[:_ID]: AESGCM(key) for key in reversed(keys)}
        (*_, self._first) = self._ciphers

    def close(self, inside: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return self._first + nonce + self._ciphers[self._first].encrypt(nonce, inside, self._first)

    def open(self, closed: bytes) -> bytes | None:
        """None for what was encrypted with another key, or changed since."""
        id, nonce, data = closed[:_ID], closed[_ID : _ID + _NONCE], closed[_ID + _NONCE :]
        cipher = self._ciphers.get(id)
        if cipher is None or not data:
            return None
        try:
            return cipher.decrypt(nonce, data, id)
        except self._wrong:
            return None

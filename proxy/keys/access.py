"""Access keys: authentication by SHA-256 hash.

A key is looked up by its hash and becomes an Identity (identity.py), which says what its caller may do. Names of keys are unique (conf
checks that, and so does Access). A key without a name is identified by its hash, not by its place in the file: when another key is
removed, it keeps its own counts and state and does not inherit the other's.

The keys of the file come first; what is none of them is asked of the other sources in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from time import time

from ...codecs import errors
from ...conf.model import AccessKey
from ..wire.networks import Address
from .identity import ANYONE, Identity, Source, of_key, same_names


class Access:
    """The callers of one configuration. Without keys and other sources every caller is admitted."""

    def __init__(self, keys: tuple[AccessKey, ...], sources: Sequence[Source] = ()) -> None:
        """Raises ValueError when two keys have one name."""
        if same_names(key.name for key in keys):
            raise ValueError("two access keys have the same name")
        self.open = not keys and not sources
        self.sources = tuple(sources)
        self._by_hash = {key.key_sha256: of_key(key) for key in keys}
        self._located = any(key.allow_from for key in keys)
        self._hashed: tuple[str, str] = "", _digest("")  # the last credential and its hash: a request asks more than once

    def admit(self, credential: str | None) -> Identity:
        """The caller. Raises Unauthorized."""
        if self.open:
            return ANYONE
        if credential is None:
            raise errors.Unauthorized("No API key was given: send it as `Authorization: Bearer` or `x-api-key`.")
        identity = self._find(credential)
        if identity is None:
            raise errors.Unauthorized("The API key is not known to this gateway.")
        if identity.expires_at is not None and identity.expires_at <= time():
            raise errors.Unauthorized("The API key has expired.")
        return identity

    def knows(self, credential: str | None) -> bool:
        """Whether `admit` accepts this credential."""
        try:
            self.admit(credential)
        except errors.Unauthorized:
            return False
        return True

    @property
    def located(self) -> bool:
        """Whether some key may be used from certain networks only."""
        for source in self.sources:
            if source.located:
                return True
        return self._located

    def check_place(self, credential: str | None, address: Address | None) -> None:
        """Raise Forbidden when this credential is a key that may not be used from this address, Unauthorized as a source does."""
        identity = None if credential is None else self._find(credential)
        if identity is not None and identity.allow_from and address not in identity.allow_from:
            raise errors.Forbidden("This API key may not be used from your address.")

    def named(self, identity: Identity, user: str) -> Identity:
        """The identity of a request that says who its user is; the same where no source knows of users."""
        for source in self.sources:
            identity = source.named(identity, user)
        return identity

    def _find(self, credential: str) -> Identity | None:
        # the look-up's timing reveals nothing, as nobody can choose a hash, and the last credential is not compared with others
        last, digest = self._hashed
        if credential is not last:
            digest = _digest(credential)
            self._hashed = credential, digest
        identity = self._by_hash.get(digest)
        if identity is not None or not self.sources:
            return identity
        for source in self.sources:
            identity = source.find(credential, digest)
            if identity is not None:
                return identity
        return None


def _digest(credential: str) -> str:
    return sha256(credential.encode("utf-8", "surrogateescape")).hexdigest()

"""Who may ask for what: access keys, known by their SHA-256 alone."""

from __future__ import annotations

import hmac
from hashlib import sha256

from ...codecs import errors
from ...conf.model import AccessKey
from ...conf.providers import fits


class Access:
    """The access keys of one configuration. Without any, every caller is let in."""

    def __init__(self, keys: tuple[AccessKey, ...]) -> None:
        self.required = bool(keys)
        self._open = not keys
        self._by_hash = {key.key_sha256: key for key in keys}
        self._by_name = {key.name: key for key in keys}

    def admit(self, credential: str | None) -> str:
        """The name of the caller's key ("" when the gateway is open). Raises Unauthorized."""
        if self._open:
            return ""
        if credential is None:
            raise errors.Unauthorized("No API key was given: send it as `Authorization: Bearer` or `x-api-key`.")
        key = self._find(credential)
        if key is None:
            raise errors.Unauthorized("The API key is not known to this gateway.")
        return key.name

    def knows(self, credential: str | None) -> bool:
        """Whether `admit` would let this caller in."""
        return self._open or (credential is not None and self._find(credential) is not None)

    def _find(self, credential: str) -> AccessKey | None:
        given = sha256(credential.encode("utf-8", "surrogateescape")).hexdigest()
        # who cannot choose a hash learns nothing from the time that looking it up takes; and the last step takes always the same
        key = self._by_hash.get(given)
        return key if key is not None and hmac.compare_digest(given, key.key_sha256) else None

    def allows(self, name: str, model: str) -> bool:
        """Whether the key called `name` may ask for this model."""
        key = self._by_name.get(name)
        return key is None or fits(model, key.models)

    def check_model(self, name: str, model: str) -> None:
        """Raises Forbidden when it may not."""
        if not self.allows(name, model):
            raise errors.Forbidden(f"This API key may not use the model `{model[:200]}`.", param="model")

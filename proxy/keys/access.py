"""Who may ask for what: access keys, known by their SHA-256 alone.

A key is found by its hash and from then on called by its name: rights, counts and stored state belong to that name. So no two keys
may have one (conf sees to it, and Access refuses it), and a key without a name is called by its hash, not by its place in the file:
when another key is removed it keeps its own counts and state, and does not come by the other's.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from ...codecs import errors
from ...conf.model import AccessKey
from ...conf.providers import fits


class Access:
    """The access keys of one configuration. Without any, every caller is let in."""

    def __init__(self, keys: tuple[AccessKey, ...]) -> None:
        """Raises ValueError when two keys have one name."""
        self.open = not keys
        self._by_hash = {key.key_sha256: key for key in keys}
        self._by_name = {key.name: key for key in keys}
        if len(self._by_name) < len(keys):
            raise ValueError("two access keys have the same name")

    def admit(self, credential: str | None) -> str:
        """The name of the caller's key ("" when the gateway is open). Raises Unauthorized."""
        if self.open:
            return ""
        if credential is None:
            raise errors.Unauthorized("No API key was given: send it as `Authorization: Bearer` or `x-api-key`.")
        key = self._find(credential)
        if key is None:
            raise errors.Unauthorized("The API key is not known to this gateway.")
        return key.name

    def knows(self, credential: str | None) -> bool:
        """Whether `admit` would let this caller in."""
        return self.open or (credential is not None and self._find(credential) is not None)

    def _find(self, credential: str) -> AccessKey | None:
        given = sha256(credential.encode("utf-8", "surrogateescape")).hexdigest()
        # who cannot choose a hash learns nothing from the time that looking it up takes; and the last step takes always the same
        key = self._by_hash.get(given)
        return key if key is not None and hmac.compare_digest(given, key.key_sha256) else None

    def allows(self, name: str, model: str) -> bool:
        """Whether the key called `name` may ask for this model."""
        key = self._by_name.get(name)
        return key is None or fits(model, key.models)

    def restricted(self, name: str) -> bool:
        """Whether there are models that the key called `name` may not ask for."""
        key = self._by_name.get(name)
        return key is not None and "*" not in key.models

    def wants_prices(self, name: str) -> bool:
        """Whether the budget of the key called `name` refuses models without a price."""
        key = self._by_name.get(name)
        return key is not None and key.budget is not None and key.budget.unpriced == "refuse"

    def check_model(self, name: str, model: str, param: str = "model") -> None:
        """Raises Forbidden when the key called `name` may not ask for this model. param: where the request names it."""
        if not self.allows(name, model):
            raise errors.Forbidden(f"This API key may not use the model `{model[:200]}`.", param=param)

"""Access keys: authentication by SHA-256 hash, and the models that each key may use.

A key is looked up by its hash and identified by its name from then on: rights, counts and stored responses belong to the name. Names
are therefore unique (conf checks that, and so does Access). A key without a name is identified by its hash, not by its place in the
file: when another key is removed, it keeps its own counts and state and does not inherit the other's.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from ...codecs import errors
from ...conf.model import AccessKey, Responses
from ...conf.providers import fits
from ..wire.networks import Address, Networks

_UNSAID = Responses()


class Access:
    """The access keys of one configuration. Without keys every caller is admitted."""

    def __init__(self, keys: tuple[AccessKey, ...]) -> None:
        """Raises ValueError when two keys have one name."""
        self.open = not keys
        self._by_hash = {key.key_sha256: key for key in keys}
        self._by_name = {key.name: key for key in keys}
        self._places = {key.key_sha256: Networks(key.allow_from) for key in keys if key.allow_from}
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
        """Whether `admit` accepts this credential."""
        return self.open or (credential is not None and self._find(credential) is not None)

    def check_place(self, credential: str | None, address: Address | None) -> None:
        """Raise Forbidden when this credential is a key that may not be used from this address."""
        key = None if credential is None else self._find(credential)
        if key is not None and key.key_sha256 in self._places and address not in self._places[key.key_sha256]:
            raise errors.Forbidden("This API key may not be used from your address.")

    def _find(self, credential: str) -> AccessKey | None:
        given = sha256(credential.encode("utf-8", "surrogateescape")).hexdigest()
        # The look-up's timing reveals nothing, as nobody can choose a hash; the final comparison takes constant time.
        key = self._by_hash.get(given)
        return key if key is not None and hmac.compare_digest(given, key.key_sha256) else None

    def allows(self, name: str, model: str) -> bool:
        """Whether the key `name` may use this model."""
        key = self._by_name.get(name)
        return key is None or fits(model, key.models)

    def responses(self, name: str) -> Responses:
        """What the key `name` says of its answers' form."""
        key = self._by_name.get(name)
        return _UNSAID if key is None else key.responses

    def restricted(self, name: str) -> bool:
        """Whether there are models that the key `name` may not use."""
        key = self._by_name.get(name)
        return key is not None and "*" not in key.models

    def wants_prices(self, name: str) -> bool:
        """Whether the budget of the key `name` refuses models without a price."""
        key = self._by_name.get(name)
        return key is not None and key.budget is not None and key.budget.unpriced == "refuse"

    def check_model(self, name: str, model: str, param: str = "model") -> None:
        """Raise Forbidden when the key `name` may not use this model. param: the parameter that names it."""
        if not self.allows(name, model):
            raise errors.Forbidden(f"This API key may not use the model `{model[:200]}`.", param=param)

"""Who a caller is: one record, wherever it comes from (a key of the file, a key of the control store, a token of an identity provider).

Everything that depends on the caller asks this record: the models that it may use, what is counted and limited, whose the stored
responses are (`name`), and what accounts are made out to. It is made once for each key and shared by its requests.

    access.py       file keys, and the sources of others (`Source`)
    quota.py        counts against `Identity.limits`
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from ...codecs import errors
from ...conf.model import AccessKey, Budget, Responses
from ...conf.providers import fits
from ..wire.networks import Networks

_UNSAID = Responses()
LONGEST_USER = 128  # characters of a user's name that a request says


@dataclass(frozen=True, slots=True)
class Limited:
    """One that has limits: a key, a team or a user. name: unique among all of them; it is what counters count by.

    what: as messages to the caller name it.
    """

    name: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    budget: Budget | None = None
    what: str = "this API key"

    @property
    def any(self) -> bool:
        """Whether there is a limit."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None or self.budget is not None


@dataclass(frozen=True, slots=True)
class Identity:
    """One caller.

    name: of its key ("" when the gateway is open): rights, counts and stored responses belong to it. team, user: "" without one.
    limits: those that a request is counted against, its own first, then its user's and its team's; without members that limit nothing.
    allow_from: where it may call from; empty: everywhere. expires_at: seconds since the epoch, checked when it is admitted.
    fixed_user: the user is known (of the key, or the token's subject), and what requests say of it is ignored.
    """

    name: str
    team: str = ""
    user: str = ""
    models: tuple[str, ...] = ("*",)  # patterns
    limits: tuple[Limited, ...] = ()
    responses: Responses = _UNSAID
    allow_from: Networks = field(default_factory=Networks)
    expires_at: float | None = None
    fixed_user: bool = False

    def allows(self, model: str) -> bool:
        """Whether it may use this model."""
        return fits(model, self.models)

    def reaches(self, provider: str) -> bool:
        """Whether it may use every model of a provider: one of its patterns allows whatever stands behind `provider/`."""
        return any(_allows_all(pattern, f"{provider}/") for pattern in self.models)

    @property
    def restricted(self) -> bool:
        """Whether there are models that it may not use."""
        return "*" not in self.models

    @property
    def wants_prices(self) -> bool:
        """Whether one of its budgets refuses models without a price."""
        return any(one.budget is not None and one.budget.unpriced == "refuse" for one in self.limits)

    def check_model(self, model: str, param: str = "model") -> None:
        """Raise Forbidden when it may not use this model. param: the parameter that names it."""
        if not self.allows(model):
            raise errors.Forbidden(f"This API key may not use the model `{model[:200]}`.", param=param)


ANYONE = Identity("")
"""The caller of a gateway without keys."""


class Source(Protocol):
    """Where identities come from besides the file: the control store, an identity provider."""

    def find(self, credential: str, digest: str) -> Identity | None:
        """Whose credential it is; None when it is none of this source's. Raises Unauthorized for one of its own that is not accepted.

        digest: the hexadecimal SHA-256 of the credential.
        """

    @property
    def located(self) -> bool:
        """Whether some identity of this source may call from certain networks only."""

    def named(self, identity: Identity, user: str) -> Identity:
        """The identity of a request that says who its user is, with that user's limits."""


def of_key(key: AccessKey) -> Identity:
    """The identity of a key of the file."""
    limited = Limited(key.name, key.requests_per_minute, key.tokens_per_minute, key.budget)
    return Identity(
        key.name,
        models=key.models,
        limits=only_limits(limited),
        responses=key.responses,
        allow_from=Networks(key.allow_from),
    )


def only_limits(*each: Limited | None) -> tuple[Limited, ...]:
    """Those of them that limit anything."""
    return tuple(one for one in each if one is not None and one.any)


def same_names(names: Iterable[str]) -> bool:
    """Whether a name occurs twice."""
    listed = list(names)
    return len(set(listed)) < len(listed)


def _allows_all(pattern: str, prefix: str) -> bool:
    """Whether a pattern matches everything that begins with the prefix: it ends in `*`, and what is before that is in the prefix."""
    return pattern.endswith("*") and any(fnmatchcase(prefix[:size], pattern[:-1]) for size in range(len(prefix) + 1))

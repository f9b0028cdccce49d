"""Callers who show a token (JWT) of an identity provider in the place of a key.

A token is checked with PyJWT against the issuer's keys: signature, issuer, audience, times (with SKEW), and an algorithm that the key is
for; `none` and shared secrets are never among them, whatever a key set says. What was found is held by the token's hash until it
ends, so that a caller's next request costs a look-up. Of a refused token the caller is only told `invalid_token`; the log says why.

The keys are held too. They are read anew when a token names one that is unknown, at most once in BETWEEN seconds, and in the background
when they are older than STALE; a key that is gone then ends the tokens that it had signed. Reading them takes time, and looking up a
caller (`find`) does not wait: a handler awaits `pending` before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic, time
from typing import Any, NamedTuple

import jwt
from jwt.algorithms import get_default_algorithms

from ...codecs import errors, jsontext
from ...codecs.anything import at
from ...conf.model import Jwt
from ..wire.others import Others
from .identity import LONGEST_USER, Identity, Limited

log = logging.getLogger("dragoman")

SKEW = 60  # seconds by which clocks may differ
BETWEEN = 60.0  # seconds between two readings of the keys that unknown ones cause
AFTER_FAILURE = 5.0  # the same, when there are no keys at all
STALE = 600.0  # seconds
PATIENCE = 10.0  # seconds for reading the keys
LONGEST = 16 * 1024  # characters of a token
HELD = 10_000  # tokens that were found good, and as many that were refused
REFUSED_FOR = 60.0  # seconds for which a refusal is held
MOST_KEYS = 100
LONGEST_NAME = 128  # characters of a name, a team, a model's pattern
MOST_MODELS = 1000

PREFIX = "jwt:"  # of names, so that no token has what belongs to a key of the same name

# which algorithms a key is for, by its type and curve (RFC 7518, 6.1 and 3.1; RFC 8037), where it does not say it itself
ALGORITHMS: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}


# the times are checked here, by the clock
_OPTIONS: Any = {
    "require": ["exp", "iss", "aud"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "enforce_minimum_key_length": True,
}


class Refused(Exception):
    """A token that is not accepted. The message is for the log; it quotes nothing of the token but names of keys and claims."""


class Key(NamedTuple):
    """A key of the issuer's. by_algorithm: as PyJWT takes it, for each algorithm that it is for."""

    by_algorithm: Mapping[str, Any]


LimitsOf = Callable[[str, str], tuple[Limited, ...]]


@dataclass(frozen=True, slots=True)
class _Good:
    identity: Identity
    ends: float  # seconds since the epoch
    kid: str | None


class Tokens:
    """The tokens of one issuer; a Source of identities. Create it inside the loop."""

    located = False

    def __init__(self, settings: Jwt, clock: Callable[[], float] = time, pace: Callable[[], float] = monotonic) -> None:
        """clock: seconds since the epoch, by which tokens end. pace: seconds that never go back."""
        self.settings = settings
        self._clock, self._pace = clock, pace
        self._keys: dict[str | None, Key] = {}
        self._good: OrderedDict[str, _Good] = OrderedDict()  # by the token's hash
        self._refused: OrderedDict[str, tuple[float, str]] = OrderedDict()  # until when, and why
        self._read_at = self._tried_at = float("-inf")  # by the pace
        self._reading: asyncio.Task[None] | None = None
        self._closed = False

    def use(self, others: Others, limits_of: LimitsOf = lambda team, user: ()) -> None:
        """Read the keys this way from now on: at once where there are none, so that the first caller need not wait.

        limits_of: what limits a team and one of its users.
        """
        self._others, self._limits_of = others, limits_of
        if not self._keys:
            self._read_if_due()

    def close(self) -> None:
        self._closed = True
        if self._reading is not None:
            self._reading.cancel()

    # ---- as a Source ----

    def pending(self, credential: str | None) -> Awaitable[None] | None:
        """What must be awaited before `find` can say whose credential this is; None: nothing, as nearly always."""
        kid = _kid(credential)
        if isinstance(kid, _NoToken) or self._known(kid):
            return None
        reading = self._read_if_due()
        return None if reading is None else _quiet(asyncio.shield(reading))

    def find(self, credential: str, digest: str) -> Identity | None:
        """Whose token it is; None when it is no token. Raises Unauthorized, and Overloaded when no keys could be read."""
        good = self._good.get(digest)
        now = self._clock()
        if good is not None and good.ends > now:
            self._good.move_to_end(digest)
            if self._pace() - self._read_at > STALE:
                self._read_if_due()
            return self._limited(digest, good).identity
        kid = _kid(credential)
        if isinstance(kid, _NoToken):
            return None
        until, why = self._refused.get(digest, (0.0, ""))
        if until > self._pace():
            raise _invalid(why)
        if not self._keys:
            self._read_if_due()
            away = "the issuer's keys could not be read"
            raise errors.Overloaded("Tokens cannot be checked at the moment.", away, retry_after=AFTER_FAILURE)
        try:
            checked = self._checked(credential, kid)
        except Refused as refusal:
            self._note(digest, refusal)
            raise _invalid(str(refusal)) from None
        _hold(self._good, digest, checked)
        return self._limited(digest, checked).identity

    def _limited(self, digest: str, good: _Good) -> _Good:
        """With the limits of its team and user as they are now."""
        limits = self._limits_of(good.identity.team, good.identity.user)
        if limits != good.identity.limits:
            self._good[digest] = good = replace(good, identity=replace(good.identity, limits=limits))
        return good

    def named(self, identity: Identity, user: str) -> Identity:
        """The same: a token says itself who its user is."""
        return identity

    # ---- one token ----

    def _checked(self, token: str, kid: str | None) -> _Good:
        """Raises Refused."""
        key = self._key(kid)
        algorithm = _header(token).get("alg")
        if not isinstance(algorithm, str) or algorithm not in key.by_algorithm:
            raise Refused("its algorithm is not one that the key is for")
        settings = self.settings
        try:
            claims = jwt.decode(
                token,
                key.by_algorithm[algorithm],
                algorithms=[algorithm],
                audience=list(settings.audience),
                issuer=settings.issuer,
                options=_OPTIONS,
            )
        except jwt.PyJWTError as error:
            raise Refused(_why(error)) from None
        ends = self._in_time(claims)
        return _Good(self._identity(claims), ends, kid)

    def _key(self, kid: str | None) -> Key:
        """Raises Refused. A token without a key's id may be signed by the only key that there is."""
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if kid not in self._keys:
            raise Refused("it names no key" if kid is None else "the issuer has no key of the id that it names")
        return self._keys[kid]

    def _in_time(self, claims: Mapping[str, Any]) -> float:
        """When the token ends. Raises Refused."""
        now = self._clock()
        times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
        for name, value in times.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
                raise Refused(f"its claim {name} is not a time")
        if times["exp"] + SKEW <= now:
            raise Refused("it has expired")
        if times.get("nbf", now) - SKEW > now or times.get("iat", now) - SKEW > now:
            raise Refused("it is not valid yet")
        return float(times["exp"]) + SKEW

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        """Raises Refused."""
        named = self.settings.claims
        name = _text(claims, named.name)
        user = _text(claims, named.user) if named.user is not None else ""
        return Identity(
            PREFIX + name,
            team=_text(claims, named.team) if named.team is not None else "",
            user=user[:LONGEST_USER],
            models=("*",) if named.models is None else _models(claims, named.models),
            fixed_user=bool(user),
        )

    def _note(self, digest: str, refusal: Refused) -> None:
        """Log a refusal, and hold it until the keys are read anew or REFUSED_FOR is over."""
        log.warning("a token is refused: %s", refusal)
        _hold(self._refused, digest, (self._pace() + REFUSED_FOR, str(refusal)))

    # ---- the keys ----

    def _known(self, kid: str | None) -> bool:
        return kid in self._keys or (kid is None and len(self._keys) == 1)

    def _read_if_due(self) -> asyncio.Task[None] | None:
        """The reading of the keys that is under way; begun now if the last one is long enough ago; else None."""
        if self._reading is None and not self._closed:
            between = BETWEEN if self._keys else AFTER_FAILURE
            if self._pace() - self._tried_at < between:
                return None
            self._tried_at = self._pace()
            self._reading = asyncio.get_running_loop().create_task(self._read())
        return self._reading

    async def _read(self) -> None:
        try:
            url = self.settings.jwks_url or await self._discovered()
            keys = _keys((await self._json(url)).get("keys"))
            if not keys:
                raise ValueError("the key set holds no key that can be used")
        except (errors.GatewayError, ValueError) as error:
            detail = getattr(error, "detail", "")
            log.warning("the keys of %s could not be read: %s%s", self.settings.issuer, error, f" ({detail})" if detail else "")
            return
        finally:
            self._reading = None
        self._read_at = self._pace()
        gone = {kid for kid, key in self._keys.items() if keys.get(kid) != key}
        self._keys = keys
        if gone:
            self._good = OrderedDict((digest, good) for digest, good in self._good.items() if good.kid not in gone)
        self._refused.clear()

    async def _discovered(self) -> str:
        """Where the issuer has its keys (OpenID Connect Discovery 1.0, 4). Raises GatewayError, ValueError."""
        issuer = self.settings.issuer
        document = await self._json(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if document.get("issuer") != issuer:
            raise ValueError("the discovery document is of another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or not url.startswith(("https://", "http://") if issuer.startswith("http://") else "https://"):
            raise ValueError("the discovery document names no https address of keys")
        return url

    async def _json(self, url: str) -> dict[str, Any]:
        answer = await self._others.ask(url, PATIENCE)
        if answer.status != 200:
            raise ValueError(f"{url} answered with {answer.status}")
        try:
            value = jsontext.loads(answer.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ValueError(f"{url} answered with no JSON object")
        return value


class _NoToken:
    """Of a credential that does not have the form of a token."""


_NO_TOKEN = _NoToken()


def _kid(credential: str | None) -> str | _NoToken | None:
    """The id of the key that a token names."""
    if credential is None or credential.count(".") != 2 or not credential.startswith("ey") or not credential.isascii():
        return _NO_TOKEN
    if len(credential) > LONGEST:
        return _NO_TOKEN
    kid = _header(credential).get("kid")
    return kid if isinstance(kid, str) else None


def _header(token: str) -> dict[str, Any]:
    """A token's header, which nothing vouches for; {} when it cannot be read."""
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        return {}


def _keys(rows: Any) -> dict[str | None, Key]:
    """The keys of a key set (RFC 7517) that can check signatures, by their ids."""
    keys: dict[str | None, Key] = {}
    for row in rows[:MOST_KEYS] if isinstance(rows, list) else ():
        if not isinstance(row, dict) or row.get("use", "sig") != "sig" or not _verifies(row.get("key_ops")):
            continue
        kid, kind, curve = row.get("kid"), row.get("kty"), row.get("crv")
        algorithms = ALGORITHMS.get((kind, curve), ()) if isinstance(kind, str) and isinstance(curve, str | None) else ()
        own = row.get("alg")
        usable = {name: _public(row, name) for name in algorithms if own in (None, name)}
        if None not in usable.values() and usable and (kid is None or isinstance(kid, str)):
            keys.setdefault(kid, Key(usable))
    return keys


def _verifies(operations: Any) -> bool:
    """Whether a key may check signatures, by its `key_ops`."""
    return not operations or (isinstance(operations, list) and "verify" in operations)


def _public(row: dict[str, Any], algorithm: str) -> Any:
    """The public key as PyJWT takes it; None when the row is none. A private key's row gives its public part alone."""
    public: dict[str, Any] = {name: row[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in row}
    try:
        return get_default_algorithms()[algorithm].from_jwk(public)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None


def _why(error: jwt.PyJWTError) -> str:
    """In our own words: a library's may quote the token."""
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "it cannot be read")


_WORDS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.InvalidSignatureError, "its signature is wrong"),
    (jwt.InvalidAudienceError, "it is for another audience"),
    (jwt.InvalidIssuerError, "it is of another issuer"),
    (jwt.MissingRequiredClaimError, "it lacks one of the claims exp, iss, aud"),
    (jwt.InvalidKeyError, "its key is too short"),
    (jwt.InvalidAlgorithmError, "its algorithm is not one that the key is for"),
)


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, or by a path of names with dots."""
    if path in claims:
        return claims[path]
    return at(claims, *path.split("."))


def _text(claims: Mapping[str, Any], path: str) -> str:
    """Raises Refused."""
    claim = _claim(claims, path)
    if not isinstance(claim, str) or not claim or len(claim) > LONGEST_NAME or not claim.isprintable():
        raise Refused(f"its claim {path} is not a text of 1 to {LONGEST_NAME} printable characters")
    return claim


def _models(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """Patterns of models. Raises Refused."""
    claim = _claim(claims, path)
    listed = claim.split() if isinstance(claim, str) else claim
    if not isinstance(listed, list) or len(listed) > MOST_MODELS or not all(map(_is_pattern, listed)):
        raise Refused(f"its claim {path} is not a list of models")
    return tuple(listed)


def _is_pattern(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME


def _invalid(why: str) -> errors.Unauthorized:
    error = errors.Unauthorized("The token is not accepted: invalid_token.", f"the token is refused: {why}", code="invalid_token")
    error.headers["www-authenticate"] = 'Bearer error="invalid_token"'
    return error


def _hold(store: OrderedDict[str, Any], digest: str, value: Any) -> None:
    store[digest] = value
    store.move_to_end(digest)
    if len(store) > HELD:
        store.popitem(last=False)


async def _quiet(reading: Awaitable[None]) -> None:
    """Wait for it; whatever comes of it, `find` decides."""
    with suppress(TimeoutError):
        await asyncio.wait_for(reading, PATIENCE)

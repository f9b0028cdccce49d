"""AWS's credentials, which sign requests: keys of the entry itself, or what chain.py gets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, ClassVar

from ...conf.model import Aws
from . import sigv4
from .credential import Credential, Fault

SKEW = 240.0  # seconds by which two clocks may differ before ours is corrected
_ENDED = frozenset({"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException"})
_SIGNATURES = frozenset({"InvalidSignatureException", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "ExpiredTokenException"})


_KEY_ID = re.compile(r"\w{1,128}", re.ASCII)


@dataclass(slots=True)
class Clock:
    """offset: seconds by which the service's clock is ahead of ours."""

    offset: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Keys(Credential):
    """Signs requests. token: of the session, or ""."""

    key_id: str = ""
    secret: str = field(default="", repr=False)
    clock: Clock = field(default_factory=Clock)

    signs: ClassVar[bool] = True

    @property
    def headers(self) -> dict[str, str]:
        return {}

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.secret, self.token

    def refused(self, status: int, headers: Mapping[str, str]) -> bool:
        return status in (400, 401, 403) and error_type(headers) in _ENDED

    def corrected(self, status: int, headers: Mapping[str, str]) -> bool:
        if status != 403 or error_type(headers) not in _SIGNATURES:
            return False
        try:
            theirs = parsedate_to_datetime(headers.get("date", "")).timestamp()
        except (TypeError, ValueError):
            return False
        offset = theirs - time()
        if abs(offset - self.clock.offset) < SKEW:
            return False
        self.clock.offset = offset
        return True

    def sign(self, method: str, target: str, headers: Mapping[str, str], body: bytes, place: tuple[str, str]) -> dict[str, str]:
        keys = (self.key_id, self.secret, self.token)
        return sigv4.authorization(method, target, headers, hashlib.sha256(body).hexdigest(), keys, *place, time() + self.clock.offset)


def error_type(headers: Mapping[str, str]) -> str:
    """The name of an error in an answer's headers; "" without one."""
    return headers.get("x-amzn-errortype", "").partition(":")[0].rpartition("#")[2]


def keys(clock: Clock, given: Mapping[str, Any]) -> Keys:
    """What the chain gave. Raises Fault."""
    if not (isinstance(given["key_id"], str) and _KEY_ID.fullmatch(given["key_id"])):
        raise Fault("the answer holds no key, or one with an id that is none")
    for text in (given["secret"], given["token"]):
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise Fault("the keys are not of printable ASCII")
    if not given["secret"]:
        raise Fault("the answer holds no secret")
    return Keys(given["token"], given["ends"], given["renew_at"], given["key_id"], given["secret"], clock)


class Written:
    """Giver of the keys that an entry itself has."""

    def __init__(self, way: Aws) -> None:
        self.name = way.text
        given = {"key_id": way.access_key_id, "secret": way.secret_access_key, "token": way.session_token or ""}
        self._given, self._clock = given | {"ends": None, "renew_at": None}, Clock()

    def get(self) -> Keys:
        return keys(self._clock, self._given)

    def close(self) -> None:
        """Nothing is under way."""

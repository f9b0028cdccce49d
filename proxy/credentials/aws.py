"""AWS's credentials, which sign requests: keys of the entry itself, or what chain.py gets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, ClassVar

from ...codecs.anything import object_of, str_of
from ...conf.model import Aws
from . import sigv4
from .credential import UNAUTHORIZED, Answer, Credential, Fault

SKEW = 240.0  # seconds by which two clocks may differ before ours is corrected
_ENDED = frozenset({"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException"})
_SIGNATURES = frozenset({"InvalidSignatureException", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "ExpiredTokenException"})
_STATUSES = (400, 401, 403)  # of these errors
_UNKNOWN = _ENDED | _SIGNATURES | {"MissingAuthenticationToken", "MissingAuthenticationTokenException"}


_LONGEST = 16 * 1024  # bytes of an error that are read
_NOW = re.compile(r"\((\d{8}T\d{6}Z) [-+] \d{1,4} min\.\)")  # "… is now earlier than 20261129T115500Z (20261129T120000Z - 5 min.)"
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

    def refused(self, answer: Answer) -> bool:
        return answer.status == UNAUTHORIZED or (answer.status in _STATUSES and error_type(answer) in _ENDED)

    def unknown(self, answer: Answer) -> bool:
        return self.refused(answer) or (answer.status in _STATUSES and error_type(answer) in _UNKNOWN)

    def corrected(self, answer: Answer) -> bool:
        if answer.status != 403 or error_type(answer) not in _SIGNATURES:
            return False
        theirs = _time_of(answer)
        if theirs is None:
            return False
        offset = theirs - time()
        if abs(offset - self.clock.offset) < SKEW:
            return False
        self.clock.offset = offset
        return True

    def sign(self, method: str, target: str, headers: Mapping[str, str], body: bytes, place: tuple[str, str]) -> dict[str, str]:
        keys = (self.key_id, self.secret, self.token)
        return sigv4.authorization(method, target, headers, hashlib.sha256(body).hexdigest(), keys, *place, time() + self.clock.offset)


def error_type(answer: Answer) -> str:
    """The name of an error, by its header, else by the body's `__type`; "" without one."""
    name = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
    return (name or str_of(object_of(answer.body[:_LONGEST]), "__type")).rpartition("#")[2]


def _time_of(answer: Answer) -> float | None:
    """What the service's clock says, in seconds since the epoch: as the message tells it, else when the answer was made."""
    body = object_of(answer.body[:_LONGEST])
    stamp = _NOW.search(str_of(body, "message") or str_of(body, "Message"))
    try:
        if stamp is not None:
            return datetime.strptime(f"{stamp[1]}+0000", "%Y%m%dT%H%M%SZ%z").timestamp()
        return parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (TypeError, ValueError):
        return None


def keys(clock: Clock, fields: Mapping[str, Any]) -> Keys:
    """The keys in the fields that the chain returned. Raises Fault."""
    if not (isinstance(fields["key_id"], str) and _KEY_ID.fullmatch(fields["key_id"])):
        raise Fault("the answer holds no key, or one with an id that is none")
    for text in (fields["secret"], fields["token"]):
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise Fault("the keys are not of printable ASCII")
    if not fields["secret"]:
        raise Fault("the answer holds no secret")
    return Keys(fields["token"], fields["ends"], fields["renew_at"], fields["key_id"], fields["secret"], clock)


class Written:
    """Giver of the keys that an entry itself has."""

    def __init__(self, way: Aws) -> None:
        self.name = way.text
        fields = {"key_id": way.access_key_id, "secret": way.secret_access_key, "token": way.session_token or ""}
        self._fields, self._clock = fields | {"ends": None, "renew_at": None}, Clock()

    def get(self, *, ahead: bool = False) -> Keys:
        return keys(self._clock, self._fields)

    def close(self) -> None:
        """Nothing is under way."""

"""Who is signed in to the admin listener: a signed cookie, without a table; and how often one may try.

A session is signed with a secret that is derived from the configuration's own (the password's hash, the client's secret), so all replicas
and the next start accept it, and another password, or other members of the roles, end all. Sessions that are ended early stand in the
store (desk.py), and are remembered here.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import ip_network
from time import time
from typing import Literal, NamedTuple

import orjson
from tornado.web import create_signed_value, decode_signed_value

from ...conf.model import ControlAdmin
from ..wire import networks

Role = Literal["admin", "viewer", "key"]

PURPOSE = "session"  # of what is signed
ENDED = 10_000  # sessions that were ended early
FREE_TRIES = 3  # failures before an address has to wait
LONGEST_WAIT = 300.0  # seconds
FORGOTTEN = 900.0  # seconds after which failures do not count any more
ADDRESSES = 10_000
_DOUBLED = 10  # times at most: LONGEST_WAIT is reached by then

_DAY = 86400


@dataclass(frozen=True, slots=True)
class Session:
    """role: `key` is a key holder, who sees the use of their own key. name: of the person or the key. sha256: of that key."""

    id: str
    role: Role
    name: str
    until: float  # seconds since the epoch
    sha256: str = ""


class Refused(Exception):
    """Nobody is signed in. The message is for the log and the audit; it holds no token."""


class Begun(NamedTuple):
    """One sign-in: what the browser keeps until it comes back."""

    state: str
    nonce: str
    verifier: str


class Sessions:
    """Makes and reads the cookies' values."""

    def __init__(self, settings: ControlAdmin) -> None:
        self._lasts = settings.session
        material = "\0".join(
            filter(None, (settings.password, settings.password_sha256, settings.oidc.client_secret if settings.oidc else None))
        )
        secret = material.encode() or secrets.token_bytes(32)
        oidc = settings.oidc
        roles = "" if oidc is None else repr((oidc.issuer, oidc.claim, oidc.admins, oidc.viewers))
        # slow, so that a cookie is no quick way to guess the password
        self._secret = hashlib.scrypt(secret, salt=b"dragoman admin sessions" + roles.encode(), n=1 << 14, r=8, p=1, dklen=32)
        self._ended: OrderedDict[str, None] = OrderedDict()

    def begin(self, role: Role, name: str, sha256: str = "") -> Session:
        return Session(secrets.token_urlsafe(16), role, name, time() + self._lasts, sha256)

    def write(self, session: Session) -> str:
        """The cookie's value."""
        return self.sign(PURPOSE, [session.id, session.role, session.name, session.until, session.sha256])

    def read(self, value: str | None) -> Session | None:
        """None for a value that is not of this secret, is over, or was ended."""
        fields = self.verify(PURPOSE, value, self._lasts)
        if not isinstance(fields, list):
            return None
        session = Session(*fields)
        return session if session.until > time() and session.id not in self._ended else None

    def end(self, session: Session) -> None:
        self._ended[session.id] = None
        if len(self._ended) > ENDED:
            self._ended.popitem(last=False)

    def csrf(self, session: Session) -> str:
        """What a page shows with every change, beside its cookie."""
        return hmac.new(self._secret, f"csrf {session.id}".encode(), hashlib.sha256).hexdigest()

    def sign(self, name: str, value: object) -> str:
        return create_signed_value(self._secret.hex(), name, orjson.dumps(value)).decode()

    def verify(self, name: str, value: str | None, seconds: float) -> object:
        """What was signed under this name within that time; None for anything else."""
        if not value or len(value) > 4096:
            return None
        data = decode_signed_value(self._secret.hex(), name, value, max_age_days=seconds / _DAY)
        return None if data is None else orjson.loads(data)


class Throttle:
    """Slows down who fails to sign in: from FREE_TRIES failures on, an address waits twice as long after each."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # count, and when the last was

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0 when it may now."""
        count, last = self._failures.get(_household(address), (0, 0.0))
        since = max(0.0, time() - last)  # a clock that was set back keeps nobody out
        if since > FORGOTTEN or count < FREE_TRIES:
            return 0.0
        return max(0.0, min(LONGEST_WAIT, 2.0 ** min(count - FREE_TRIES, _DOUBLED)) - since)

    def failed(self, address: str) -> None:
        place = _household(address)
        count, last = self._failures.pop(place, (0, 0.0))
        now = time()
        self._failures[place] = (1 if now - last > FORGOTTEN else count + 1, now)
        if len(self._failures) > ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        self._failures.pop(_household(address), None)


def _household(text: str) -> str:
    """Who counts as one: an IPv4 address, or a network of 64 bits, all of whose addresses one machine may use."""
    address = networks.address(text)
    if address is None or address.version == 4:
        return text if address is None else str(address)
    return str(ip_network((int(address), 64), strict=False))

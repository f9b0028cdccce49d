"""Protection against web pages that call the gateway from a browser: cross-origin requests and DNS rebinding.

Without access keys everyone who reaches the port is served, and a browser on the same machine or network reaches it for every page
that it shows. A cross-origin request with JSON needs a CORS preflight, which is refused; but text/plain is sent without one, and a
page whose host name resolves to the gateway's address (DNS rebinding) is same-origin and can read the responses. A page cannot omit
or change the headers Origin, Sec-Fetch-Site and Host, so check() decides by them.

A program can send any value: this is not authentication.

`cors` lists the origins whose pages may use the gateway (Origins). They are excepted from check(), but for the Host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from string import ascii_letters, digits
from typing import NamedTuple
from urllib.parse import urlsplit

from ...codecs import errors
from .headers import is_loopback

LONGEST = 300  # characters of a host and its port
_HEADERS_ASKED = frozenset(ascii_letters + digits + "-_, ")  # characters of an Access-Control-Request-Headers that is repeated
_MOST_ASKED = 4096  # characters of it
# names of the host inside containers: no page can be served under them
_MACHINE = frozenset({"host.docker.internal", "host.containers.internal"})


class Hosts:
    """The host names that a listener accepts in `Host`. Addresses are always accepted: only names can be rebound."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """names: accepted besides those of this machine, without a port."""
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    def has(self, host: str) -> bool:
        """Whether the value of a `Host` header is accepted; its port is ignored."""
        if len(host) > LONGEST:
            return False
        name = _name(host)
        return name is None or name in self._names


@lru_cache(256)
def _name(host: str) -> str | None:
    """The name in a `Host` header; None for an address, for a name that always means this machine, and if there is none."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:  # a malformed address
        return host
    return None if not name or name in _MACHINE or _is_address(name) or is_loopback(name) else name


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdecimal()


class Cors(NamedTuple):
    """headers: of the answer. listed: the request's origin may use the gateway. preflight: and only asks whether it may."""

    headers: Mapping[str, str]
    listed: bool = False
    preflight: bool = False


ANY = "*"
_SHOWN = {"Access-Control-Expose-Headers": "*"}  # no answer has a header that is not for the caller
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"


class Origins:
    """The origins whose pages may use the gateway.

    Never with cookies or other credentials of the browser's own (Access-Control-Allow-Credentials): a page sends its key itself.
    """

    def __init__(self, origins: Iterable[str], max_age: float) -> None:
        """origins: in lower case, without a default port; or ANY. max_age: seconds that a browser may keep a preflight's answer."""
        self._origins = frozenset(origins)
        self._any = ANY in self._origins
        self._max_age = str(int(max_age))
        self._others = Cors({"Vary": "Origin"} if self._origins and not self._any else {})

    def judge(self, method: str, headers: Mapping[str, str]) -> Cors:
        """headers: of the request."""
        origin = headers.get("Origin")
        if origin is None or not (self._any or origin.lower() in self._origins):
            return self._others
        fields = {"Access-Control-Allow-Origin": ANY} if self._any else {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        if method != "OPTIONS" or "Access-Control-Request-Method" not in headers:
            return Cors(fields | _SHOWN, listed=True)
        fields |= {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Max-Age": self._max_age}
        asked = headers.get("Access-Control-Request-Headers", "")
        if asked and len(asked) <= _MOST_ASKED and _HEADERS_ASKED.issuperset(asked):
            fields["Access-Control-Allow-Headers"] = asked
        return Cors(fields, listed=True, preflight=True)


def check(method: str, headers: Mapping[str, str], hosts: Hosts | None, *, listed: bool = False, secure: bool = False) -> None:
    """Raise Forbidden for a request from a page of another origin or with an unlisted host, ClientFault for a POST that is not JSON.

    hosts: None accepts any `Host`, for listeners whose names are not configured. listed: by Origins. secure: the gateway is asked
    over https, so that a page of its name that came over http is of another origin.
    """
    _check_host(headers, hosts)
    if listed:
        return
    if headers.get("Sec-Fetch-Site") == "cross-site":
        raise _foreign()
    origin = headers.get("Origin")
    if origin is None:
        return
    if not _is_own(origin, headers, secure):
        raise _foreign()
    if method == "POST" and _has_body(headers) and not _calls_itself_json(headers.get("Content-Type", "")):
        raise errors.ClientFault("A web page may only send `application/json`.", kind="unsupported_media")


def check_socket(headers: Mapping[str, str], hosts: Hosts | None, origins: Iterable[str], *, secure: bool = False) -> None:
    """Raise Forbidden for an upgrade to a WebSocket from a page of another origin, also where there are access keys.

    No preflight precedes such an upgrade. hosts, secure: as of check. origins: of pages that may connect all the same, in small letters.
    """
    _check_host(headers, hosts)
    origin = headers.get("Origin")
    if origin is not None and not _is_own(origin, headers, secure) and origin.lower() not in origins:
        raise errors.Forbidden("Web pages of this origin may not connect: list it in `websocket.origins`.")


def _check_host(headers: Mapping[str, str], hosts: Hosts | None) -> None:
    host = headers.get("Host")
    if hosts is not None and host is not None and not hosts.has(host):
        raise errors.Forbidden(f"This gateway does not accept requests for the host `{host[:200]}`: list it in `hosts` of its listener.")


def _is_own(origin: str, headers: Mapping[str, str], secure: bool) -> bool:
    """Whether a page of the gateway's own origin asks."""
    if secure and not origin.lower().startswith("https://"):
        return False
    return origin.partition("://")[2].lower() == headers.get("Host", "").lower()


def _foreign() -> errors.Forbidden:
    return errors.Forbidden("This gateway has no access keys: web pages of another origin may not use it.")


def _has_body(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers


def _calls_itself_json(kind: str) -> bool:
    kind = kind.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")

"""Protection against web pages that call the gateway from a browser: cross-origin requests and DNS rebinding.

Without access keys everyone who reaches the port is served, and a browser on the same machine or network reaches it for every page
that it shows. A cross-origin request with JSON needs a CORS preflight, which is refused; but text/plain is sent without one, and a
page whose host name resolves to the gateway's address (DNS rebinding) is same-origin and can read the responses. A page cannot omit
or change the headers Origin, Sec-Fetch-Site and Host, so check() decides by them.

A program can send any value: this is not authentication.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from ...codecs import errors
from .headers import is_loopback

LONGEST = 300  # characters of a host and its port
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


def check(method: str, headers: Mapping[str, str], hosts: Hosts | None) -> None:
    """Raise Forbidden for a request from a page of another origin or with an unlisted host, ClientFault for a POST that is not JSON.

    hosts: None accepts any `Host`, for listeners whose names are not configured.
    """
    _check_host(headers, hosts)
    if headers.get("Sec-Fetch-Site") == "cross-site":
        raise _foreign()
    origin = headers.get("Origin")
    if origin is None:
        return
    if not _is_own(origin, headers):
        raise _foreign()
    if method == "POST" and _has_body(headers) and not _calls_itself_json(headers.get("Content-Type", "")):
        raise errors.ClientFault("A web page may only send `application/json`.", kind="unsupported_media")


def check_socket(headers: Mapping[str, str], hosts: Hosts | None, origins: Iterable[str]) -> None:
    """Raise Forbidden for an upgrade to a WebSocket from a page of another origin, also where there are access keys.

    No preflight precedes such an upgrade. hosts: as of check. origins: of pages that may connect all the same, in small letters.
    """
    _check_host(headers, hosts)
    origin = headers.get("Origin")
    if origin is not None and not _is_own(origin, headers) and origin.lower() not in origins:
        raise errors.Forbidden("Web pages of this origin may not connect: list it in `websocket.origins`.")


def _check_host(headers: Mapping[str, str], hosts: Hosts | None) -> None:
    host = headers.get("Host")
    if hosts is not None and host is not None and not hosts.has(host):
        raise errors.Forbidden(f"This gateway does not accept requests for the host `{host[:200]}`: list it in `hosts` of its listener.")


def _is_own(origin: str, headers: Mapping[str, str]) -> bool:
    """Whether a page of the gateway's own origin asks."""
    return origin.partition("://")[2].lower() == headers.get("Host", "").lower()


def _foreign() -> errors.Forbidden:
    return errors.Forbidden("This gateway has no access keys: web pages of another origin may not use it.")


def _has_body(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers


def _calls_itself_json(kind: str) -> bool:
    kind = kind.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")

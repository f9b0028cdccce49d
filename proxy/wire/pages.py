"""Web pages that call the gateway from somebody's browser, and how they are told from programs.

Without access keys whoever reaches the port is served, and a browser on the same machine or network reaches it for every page that it
shows. A browser asks before it sends JSON to another origin, and is refused; but text/plain goes out unasked, and a page whose
name is made to resolve to the gateway's address (DNS rebinding) is of the gateway's own origin and reads the answers too. What a
page cannot do is leave out or change the headers Origin, Sec-Fetch-Site and Host: they decide.

A program may send any of them and pass; this is no login.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from ...codecs import errors
from .headers import is_loopback

LONGEST = 300  # characters of a host and its port
# how containers call the machine that they run on: no page can be served under these names
_MACHINE = frozenset({"host.docker.internal", "host.containers.internal"})


class Hosts:
    """The names that a listener answers to in `Host`. An address is always one: only names can be made to lead elsewhere."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """names: besides this machine's own; a port in one is not looked at."""
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    def has(self, host: str) -> bool:
        """host: the value of the header."""
        if len(host) > LONGEST:
            return False
        name = _name(host)
        return name is None or name in self._names


@lru_cache(256)
def _name(host: str) -> str | None:
    """The name in a `Host` header; None for an address, for a name that can mean nothing but this machine, and where there is none."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:  # a broken address
        return host
    return None if not name or name in _MACHINE or _is_address(name) or is_loopback(name) else name


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdecimal()


def check(method: str, headers: Mapping[str, str], hosts: Hosts | None) -> None:
    """Raises Forbidden for a request that a page of another origin, or one that is rebound, has made.

    hosts: None where the listener is asked by names that nobody has listed.
    """
    host = headers.get("Host")
    if hosts is not None and host is not None and not hosts.has(host):
        raise errors.Forbidden(f"This gateway does not answer to the host `{host[:200]}`: list it in `hosts` of its listener.")
    if headers.get("Sec-Fetch-Site") == "cross-site":
        raise _foreign()
    origin = headers.get("Origin")
    if origin is None:
        return
    if origin.partition("://")[2].lower() != (host or "").lower():
        raise _foreign()
    if method == "POST" and _has_body(headers) and not _calls_itself_json(headers.get("Content-Type", "")):
        raise errors.ClientFault("A web page may send `application/json` only.", kind="unsupported_media")


def _foreign() -> errors.Forbidden:
    return errors.Forbidden("This gateway has no access keys: web pages of another origin may not use it.")


def _has_body(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers


def _calls_itself_json(kind: str) -> bool:
    kind = kind.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")

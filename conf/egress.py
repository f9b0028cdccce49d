"""How the connections to each upstream leave: through which proxy, and with which certificates.

Everything is decided here, once, when the configuration is read: no request looks at the environment or at a list of names. Only names and
literal addresses are compared, nothing is looked up. Files of certificates are named here and opened by proxy/wire/egress.py.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

from . import read
from .document import Path
from .model import Aws, Certificates, ClientCert, Egress, Exemption, Provider, Proxies, Proxy, TokenCommand

NONE, ENV = "none", "env"
VARIABLES = {"https": ("HTTPS_PROXY", "https_proxy"), "http": ("HTTP_PROXY", "http_proxy")}  # the first that is set and not empty
ANY_VARIABLES = ("ALL_PROXY", "all_proxy")  # for both, after those
NO_PROXY_VARIABLES = ("NO_PROXY", "no_proxy")

_FORM = "must be http://host:port, or http://user:password@host:port with special characters as %XX"
_NO_ITEM = "must be *, a name, an address, or a block such as 10.0.0.0/8"
_METADATA_NAME = "metadata.google.internal"
_METADATA_ADDRESS = ipaddress.ip_address("fd00:ec2::254")  # of EC2; the others are link-local

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Loaded = Mapping[str, Any]


# ---- readers ----


def proxy(value: Any) -> Proxy | str:
    """A proxy's URL with variables expanded, or NONE or ENV. Raises ValueError."""
    written = read.expanded(value).strip()
    return written if written in (NONE, ENV) else _proxy(written)


def _proxy(written: str) -> Proxy:
    if not (written.isascii() and written.isprintable()) or " " in written:
        raise ValueError(_FORM)
    try:
        parts = urlsplit(written)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(_FORM) from None
    if parts.scheme in ("https", "socks", "socks4", "socks4a", "socks5", "socks5h"):
        raise ValueError(f"must begin with http://: {parts.scheme}:// proxies are not supported")
    if parts.scheme != "http" or not host or port == 0 or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(_FORM)
    login = None
    if parts.username is not None:
        user = unquote(parts.username)
        if ":" in user:
            raise ValueError("the proxy's user name must not contain a colon")
        login = f"{user}:{unquote(parts.password or '')}"
    return Proxy(host, port or 80, login)


def exemption(value: Any) -> Exemption:
    """`*`, a name, an address or a block of addresses; each also with a port. Raises ValueError."""
    item = read.expanded(value).strip().lower()
    if item == "*":
        return Exemption(None, None, None)
    host, port = item, ""
    if item.startswith("["):
        host, closed, port = item[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            raise ValueError(_NO_ITEM)
        port = port[1:]
    elif item.count(":") == 1:
        host, _, port = item.partition(":")
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise ValueError(_NO_ITEM)
    number = int(port) if port else None
    with contextlib.suppress(ValueError):
        return Exemption(None, ipaddress.ip_network(host, strict=False), number)
    name = host.removeprefix("*").removeprefix(".").removesuffix(".")
    return Exemption(_name(name), None, number)


def _name(name: str) -> str:
    try:
        return read.host_name(name)
    except ValueError:
        raise ValueError(_NO_ITEM) from None


# ---- the decision ----


class Wrong(ValueError):
    """A mistake that shows only when keys are seen together. key: whose."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def applied(
    entries: tuple[Provider, ...], loaded: Loaded, environ: Mapping[str, str]
) -> tuple[tuple[Provider, ...], list[tuple[Path, str]], list[tuple[Path, str]]]:
    """The entries with their proxies and certificates; the problems; and what is written in an entry and not used."""
    section = loaded.get("egress", {})
    exempt = (*section.get("no_proxy", ()), *_exempt_by(environ))
    complete, wrong, unused = [], {}, []
    for index, (entry, row) in enumerate(zip(entries, loaded["model_providers"], strict=True)):
        path: Path = ("model_providers", index)
        if entry.interface == "demo":
            unused += [((*path, key), "is not used: the demo models are built in") for key in _KEYS if key in row]
            complete.append(entry)
            continue
        try:
            _check_link_local(entry, section)
            certificates = _certificates(row, section)
            chosen, passed_over = _chosen(entry, row, section, exempt, environ)
            beside = _beside(entry, row, section, exempt, environ)
        except Wrong as error:
            own = error.key in row or error.key not in section
            wrong[(*path, error.key) if own else ("egress", error.key)] = str(error)
            continue
        asks = _asks(entry)  # by the same way
        if passed_over and isinstance(row.get("proxy"), Proxy) and not asks:
            unused.append(((*path, "proxy"), f"is not used: {passed_over}"))
        if entry.base_url.startswith("http://"):
            keys = ("client_cert",) if asks else ("ca_file", "client_cert")
            unused += [((*path, key), "is not used: base_url is http") for key in keys if key in row]
        complete.append(replace(entry, proxy=chosen, certificates=certificates, egress=beside))
    return tuple(complete), list(wrong.items()), unused


def of_others(loaded: Loaded, environ: Mapping[str, str]) -> tuple[Egress, list[tuple[Path, str]]]:
    """The section as it holds for what stands in no entry; and the problems."""
    section = loaded.get("egress", {})
    exempt = (*section.get("no_proxy", ()), *_exempt_by(environ))
    try:
        return Egress(proxies=_proxies({}, section, environ), exempt=exempt, certificates=_certificates({}, section)), []
    except Wrong as error:
        return Egress(), [(("egress", error.key if error.key in _KEYS else "proxy"), str(error))]


def _beside(entry: Provider, row: Loaded, section: Loaded, exempt: tuple[Exemption, ...], environ: Mapping[str, str]) -> Egress:
    """How the services are reached that give an entry's credential: as its upstream is. A program goes its own way."""
    own = Egress(**{key: section[key] for key in ("credential_timeout",) if key in section})
    if not _asks(entry):
        return own
    return replace(own, proxies=_proxies(row, section, environ), exempt=exempt, certificates=_certificates(row, section))


def _asks(entry: Provider) -> bool:
    """Whether a library of the gateway's asks somebody for an entry's credential."""
    way = entry.way
    return way is not None and not isinstance(way, TokenCommand) and not (isinstance(way, Aws) and way.whole)


def _proxies(row: Loaded, section: Loaded, environ: Mapping[str, str]) -> Proxies:
    own = next((chosen for chosen in (row.get("proxy", ENV), section.get("proxy", ENV)) if chosen != ENV), ENV)
    if own == ENV:
        return Proxies(**{scheme: _from_environment(scheme, environ) for scheme in VARIABLES})
    return Proxies(own, own) if isinstance(own, Proxy) else Proxies()


def proxy_of(egress: Egress, url: str) -> Proxy | None:
    """By which proxy an address that stands in no entry is reached."""
    host, address, port = _place(url)
    if _is_here(host, address) or any(one.fits(host, address, port) for one in egress.exempt):
        return None
    return getattr(egress.proxies, urlsplit(url).scheme, None)


_KEYS = ("proxy", "ca_file", "ca_only", "client_cert")


def _certificates(row: Loaded, section: Loaded) -> Certificates:
    settings = {key: row.get(key, section.get(key)) for key in _KEYS[1:]}
    if settings["ca_only"] and settings["ca_file"] is None:
        raise Wrong("ca_only", "needs a ca_file: no certificate would be accepted without one")
    client = settings["client_cert"]
    return Certificates(settings["ca_file"], bool(settings["ca_only"]), None if client is None else ClientCert(**client))


def _check_link_local(entry: Provider, section: Loaded) -> None:
    """Refuse the addresses of metadata services, which give out the machine's own credentials to whoever asks."""
    host, address, _ = _place(entry.base_url)
    metadata = host == _METADATA_NAME or (address is not None and (address.is_link_local or address == _METADATA_ADDRESS))
    if metadata and not section.get("allow_link_local"):
        raise Wrong("base_url", "is a link-local address or a metadata service: egress.allow_link_local permits it")


def _chosen(
    entry: Provider, row: Loaded, section: Loaded, exempt: tuple[Exemption, ...], environ: Mapping[str, str]
) -> tuple[Proxy | None, str]:
    """The proxy, or None and why one that is configured is passed over."""
    host, address, port = _place(entry.base_url)
    if _is_here(host, address):
        return None, "loopback, link-local addresses and metadata services are always reached directly"
    if any(one.fits(host, address, port) for one in exempt):
        return None, "its host is in egress.no_proxy or NO_PROXY"
    for chosen in (row.get("proxy", ENV), section.get("proxy", ENV)):
        if chosen != ENV:
            return chosen if isinstance(chosen, Proxy) else None, ""
    return _from_environment(urlsplit(entry.base_url).scheme, environ), ""


def _from_environment(scheme: str, environ: Mapping[str, str]) -> Proxy | None:
    variable = next((one for one in (*VARIABLES[scheme], *ANY_VARIABLES) if environ.get(one)), None)
    if variable is None:
        return None
    value = environ[variable]
    try:
        return _proxy(value.strip() if "://" in value else f"http://{value.strip()}")
    except ValueError as error:
        raise Wrong("model", f"the environment variable {variable}, by which it is reached: {error}") from None


def _exempt_by(environ: Mapping[str, str]) -> Iterator[Exemption]:
    """The environment's list. What is no item there exempts nothing: it is written for other programs, too."""
    listed = next((environ[variable] for variable in NO_PROXY_VARIABLES if environ.get(variable)), "")
    token = read.environ.set({})
    try:
        for item in listed.replace(",", " ").split():
            with contextlib.suppress(ValueError):
                yield exemption(item)
    finally:
        read.environ.reset(token)


def _place(url: str) -> tuple[str, Address | None, int]:
    """Host (lower-case, without a final dot), its address if it is a literal one, and port."""
    parts = urlsplit(url)
    host = (parts.hostname or "").removesuffix(".")
    return host, _address(host), parts.port or (443 if parts.scheme == "https" else 80)


def _address(host: str) -> Address | None:
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        return getattr(address, "ipv4_mapped", None) or address
    with contextlib.suppress(OSError):  # forms that connect() takes as well, such as 127.1
        return ipaddress.IPv4Address(socket.inet_aton(host))
    return None


def _is_here(host: str, address: Address | None) -> bool:
    if address is None:
        return host in ("localhost", _METADATA_NAME) or host.endswith(".localhost")
    return address.is_loopback or address.is_link_local or address.is_unspecified or address == _METADATA_ADDRESS

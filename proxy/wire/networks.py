"""Networks, and where a request comes from behind proxies that tell it in X-Forwarded-For and X-Forwarded-Proto.

Anybody can send these headers. So they are read only of a peer that is trusted, and from the right: each proxy appends the address of
its own peer, so the caller is the last entry that no trusted proxy has. What stands to the left of it is the caller's own word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HOPS = 32  # trusted proxies that one request may have come through; with more nobody knows where it comes from
_MAPPED = IPv6Network("::ffff:0:0/96")  # IPv4 on an IPv6 socket


class Networks:
    """A set of networks. An IPv4 address that is written as an IPv6 one is the same address."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._prefixes: dict[tuple[int, int], set[int]] = {}  # by IP version and host bits
        for network in networks:
            if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
                network = IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
            bits = network.max_prefixlen - network.prefixlen
            self._prefixes.setdefault((network.version, bits), set()).add(int(network.network_address) >> bits)

    def __bool__(self) -> bool:
        return bool(self._prefixes)

    def __contains__(self, address: Address | None) -> bool:
        """Whether one of the networks has the address; an unknown address (None) is in none."""
        if address is None:
            return False
        version, number = address.version, int(address)
        return any(version == of and number >> bits in prefixes for (of, bits), prefixes in self._prefixes.items())


def address(text: str) -> Address | None:
    """An address as a socket or an entry of X-Forwarded-For has it, perhaps with a port; None for anything else."""
    text = text.strip(" \t")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed


class Source(NamedTuple):
    """Where a request comes from. address: None where it is unknown. secure: a trusted proxy says that its caller used https."""

    address: Address | None
    secure: bool = False


UNKNOWN = Source(None)  # nobody needs to know


def source(peer: str, headers: Mapping[str, str], trusted: Networks) -> Source:
    """peer: the address of the connection's other side. headers: of the request, repeated ones joined with commas."""
    caller = address(peer)
    if caller not in trusted:
        return Source(caller)
    secure = headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip(" \t").lower() == "https"
    forwarded_for = headers.get("X-Forwarded-For", "")
    for _ in range(HOPS):
        if not forwarded_for.strip(" \t"):
            return Source(caller, secure)  # a trusted proxy's own request, or of one that tells nothing
        forwarded_for, _, entry = forwarded_for.rpartition(",")
        caller = address(entry)
        if caller not in trusted:
            return Source(caller, secure)
    return Source(None, secure)

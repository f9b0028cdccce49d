"""What is checked of a request by where it comes from, before its body is read: networks (`trusted_proxies`, `allow_from`) and the
origins of web pages (`cors`). Without any of these a gateway has no Gate, and a request costs nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...codecs import errors
from ...conf.model import Config
from ..wire import headers as travel
from ..wire import networks, pages
from ..wire.networks import UNKNOWN, Networks, Source
from .access import Access


class Gate:
    """The checks of one configuration. headers: of the request, in all methods."""

    @staticmethod
    def needed(config: Config) -> bool:
        """Whether there is anything to check."""
        return _located(config) or bool(config.cors.origins)

    def __init__(self, config: Config, access: Access | None = None) -> None:
        """access: None for a listener without callers' keys."""
        self._access = access
        self._trusted = Networks(config.trusted_proxies)
        self._allowed = Networks(config.allow_from)
        self._located = _located(config)
        self._origins = pages.Origins(config.cors.origins, config.cors.max_age)

    def cors(self, method: str, headers: Mapping[str, str]) -> pages.Cors:
        """What a browser is told of the origin of this request."""
        return self._origins.judge(method, headers)

    def source(self, peer: str, headers: Mapping[str, str], allowed: Networks) -> Source:
        """Where a request comes from. Raises Forbidden for an address that may not use the listener.

        peer: the address of the connection's other side. allowed: by the listener's own list; empty where it has none, and the list
        for all listeners decides.
        """
        if not (self._located or self._places):
            return UNKNOWN
        source = networks.source(peer, headers, self._trusted)
        allowed = allowed or self._allowed
        if allowed and source.address not in allowed:
            raise errors.Forbidden("This gateway does not serve your address.")
        return source

    def check_page(self, method: str, headers: Mapping[str, str], hosts: pages.Hosts | None, source: Source, cors: pages.Cors) -> None:
        """See pages.check."""
        if self._access is not None and self._access.open:
            pages.check(method, headers, hosts, listed=cors.listed, secure=source.secure)

    @property
    def _places(self) -> bool:
        """Whether some key may be used from certain networks only, which can change without a new configuration."""
        return self._access is not None and self._access.located

    def check_key(self, headers: Mapping[str, str], shape: str, source: Source) -> None:
        """Raise Forbidden when the caller's key may not be used from its address. shape: whose headers have the key."""
        if self._places and self._access is not None:
            self._access.check_place(travel.key(headers, shape), source.address)


def _located(config: Config) -> bool:
    """Whether anything depends on callers' addresses."""
    own = [*(listener.allow_from for listener in config.listeners), *(key.allow_from for key in config.access_keys)]
    return any((config.trusted_proxies, config.allow_from, *own))

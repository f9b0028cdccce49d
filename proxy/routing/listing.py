"""The models that callers are shown, and what is known of each: declared ones, aliases, and those that upstreams list."""

from __future__ import annotations

from .discovery import Discovery
from .router import Router, ServedModel


class Listing:
    """The list of one configuration, made anew when an upstream's list has changed."""

    def __init__(self, router: Router, discovery: Discovery) -> None:
        self._router, self._discovery = router, discovery
        self._version = -1
        self._models: dict[str, ServedModel] = {}

    def models(self) -> dict[str, ServedModel]:
        """By id, in the order of the file, aliases last."""
        if self._version != self._discovery.version:
            self._version = self._discovery.version
            self._models = {model.id: model for model in self._router.served(self._discovery.of)}
        return self._models

    def find(self, name: str) -> ServedModel | None:
        """The model that requests for this name are for, if it is listed: by its id, or by another name that it has."""
        return self._router.known_as(name, self.models())

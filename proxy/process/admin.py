"""What an admin listener shows, whichever process it stands in: metrics, where a model goes and why, the inspector's ring."""

from __future__ import annotations

from collections.abc import Callable

from ...codecs.registry import SHAPES
from ...conf.model import Config
from ..inspector.ring import Ring
from ..routing.router import Router


class Admin:
    """One process's. metrics: gives Prometheus' text. ring: what the inspector shows."""

    def __init__(self, config: Config, ring: Ring, metrics: Callable[[], bytes]) -> None:
        self.ring = ring
        self.metrics = metrics
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        self._router = Router(config)
        model = next(one for one in config.listeners if one.type == "model")
        self.gateway = {"scheme": "https" if model.tls else "http", "port": model.port}  # where requests can be sent

    def explain(self, model: str | None, shape: str | None) -> dict[str, list[str]]:
        """By shape of the caller, the candidates in order with the reason of each. Raises KeyError for a shape that there is not."""
        shapes = [own for own in SHAPES if shape in (None, own)]
        if not shapes:
            raise KeyError(shape)
        return {own: self._router.explain(own, model) for own in shapes}

    def models(self) -> list[str]:
        """Names that `explain` can be asked for."""
        return [model.id for model in self._router.models()]

"""The data of an admin listener, in whichever process it runs: metrics, `explain`, and the inspector's ring."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from time import time

from ...codecs.registry import SHAPES
from ...conf.model import Config
from ..routing.router import Router
from .links import PassedOver
from .ring import Ring


class Admin:
    """metrics: returns Prometheus' text. ring: the inspector's exchanges. passed_over: upstreams that failed lately, by worker."""

    def __init__(
        self, config: Config, ring: Ring, metrics: Callable[[], bytes], passed_over: Callable[[], dict[int, list[PassedOver]]]
    ) -> None:
        self.ring = ring
        self.metrics = metrics
        self._passed_over = passed_over
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        self._router = Router(config)
        model = next(one for one in config.listeners if one.type == "model")
        self.gateway = {"scheme": "https" if model.tls else "http", "port": model.port}  # where requests can be sent

    def explain(self, model: str | None, shape: str | None) -> dict[str, list[str]]:
        """The candidates in order, each with its reason, by shape of the caller. Raises KeyError for an unknown shape."""
        shapes = [own for own in SHAPES if shape in (None, own)]
        if not shapes:
            raise KeyError(shape)
        notes = _notes(self._passed_over())
        return {own: self._router.explain(own, model, notes) for own in shapes}

    def models(self) -> list[str]:
        """Model names that `explain` accepts."""
        return [model.id for model in self._router.models()]


def _notes(passed_over: dict[int, list[PassedOver]]) -> dict[tuple[str, str], str]:
    """Notes for Router.explain: which candidates are tried last, until when, and by which worker if there are several."""
    now, found = time(), dict[tuple[str, str], list[str]]()
    for worker, failures in sorted(passed_over.items()):
        for mark, model, until in failures:
            if until > now:
                moment = f"{datetime.fromtimestamp(until, UTC):%H:%M:%S} UTC"
                found.setdefault((mark, model), []).append(f"{moment} by worker {worker}" if worker else moment)
    return {place: f"failed lately, asked last until {', '.join(moments)}" for place, moments in found.items()}

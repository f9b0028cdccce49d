"""The data of an admin listener, in whichever process it runs: metrics, `explain`, and the inspector's ring."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from time import time

from ...codecs.registry import SHAPES
from ...conf.model import Config
from ..keys.gate import Gate
from ..routing.router import Router
from .links import Note
from .ring import Ring


class Admin:
    """metrics: returns Prometheus' text. ring: the inspector's exchanges. notes: the workers' notes on upstreams."""

    def __init__(self, config: Config, ring: Ring, metrics: Callable[[], bytes], notes: Callable[[], dict[int, list[Note]]]) -> None:
        self.ring = ring
        self.metrics = metrics
        self._told = notes
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        self.gate = Gate(config)
        self._router = Router(config)
        model = next(one for one in config.listeners if one.type == "model")
        self.gateway = {"scheme": "https" if model.tls else "http", "port": model.port}  # where requests can be sent

    def explain(self, model: str | None, shape: str | None) -> dict[str, list[str]]:
        """The candidates in order, each with its reason, by shape of the caller. Raises KeyError for an unknown shape."""
        shapes = [own for own in SHAPES if shape in (None, own)]
        if not shapes:
            raise KeyError(shape)
        notes = _notes(self._told())
        return {own: self._router.explain(own, model, notes) for own in shapes}

    def models(self) -> list[str]:
        """Model names that `explain` accepts."""
        return [model.id for model in self._router.models()]


def _notes(told: dict[int, list[Note]]) -> dict[tuple[str, str], str]:
    """The notes on each candidate for Router.explain, with their end, and the worker if there are several."""
    now, found = time(), dict[tuple[str, str], dict[str, list[str]]]()
    for worker, notes in sorted(told.items()):
        for mark, model, text, until in notes:
            if until > now:
                moment = f"{datetime.fromtimestamp(until, UTC):%H:%M:%S} UTC"
                moments = found.setdefault((mark, model), {}).setdefault(text, [])
                moments.append(f"{moment} by worker {worker}" if worker else moment)
    return {place: "; ".join(f"{text} until {', '.join(moments)}" for text, moments in texts.items()) for place, texts in found.items()}

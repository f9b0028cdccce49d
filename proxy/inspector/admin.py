"""What an admin listener shows, whichever process it stands in: metrics, where a model goes and why, the inspector's ring."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from time import time

from ...codecs.registry import SHAPES
from ...conf.model import Config
from ..routing.router import Router
from .links import Note
from .ring import Ring


class Admin:
    """One process's. metrics: gives Prometheus' text. ring: what the inspector shows. notes: what workers say of upstreams."""

    def __init__(self, config: Config, ring: Ring, metrics: Callable[[], bytes], notes: Callable[[], dict[int, list[Note]]]) -> None:
        self.ring = ring
        self.metrics = metrics
        self._told = notes
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
        notes = _notes(self._told())
        return {own: self._router.explain(own, model, notes) for own in shapes}

    def models(self) -> list[str]:
        """Names that `explain` can be asked for."""
        return [model.id for model in self._router.models()]


def _notes(told: dict[int, list[Note]]) -> dict[tuple[str, str], str]:
    """For Router.explain: what is said of each candidate, until when, and by which worker where there are several."""
    now, found = time(), dict[tuple[str, str], dict[str, list[str]]]()
    for worker, notes in sorted(told.items()):
        for mark, model, text, until in notes:
            if until > now:
                moment = f"{datetime.fromtimestamp(until, UTC):%H:%M:%S} UTC"
                moments = found.setdefault((mark, model), {}).setdefault(text, [])
                moments.append(f"{moment} by worker {worker}" if worker else moment)
    return {place: "; ".join(f"{text} until {', '.join(moments)}" for text, moments in texts.items()) for place, texts in found.items()}

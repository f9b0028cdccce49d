"""The methods of Google's API with the model in the path, other than its answers: token counts, and what is carried as it is.

A model's own path is also that of its description, and a name may have a colon: GET describes, whatever stands behind the last one.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from ..codecs.gemini import paths
from ..codecs.gemini.shape import SHAPE
from ..proxy.exchange.operation import asking, carried_method, counting
from .base import Handler
from .model import ModelHandler
from .models import describe
from .tokens import CountTokens

_COUNT = "countTokens"
_CLAUDES_COUNT = "count-tokens"  # in the place of a model; that stands in the body


class Method(ModelHandler):
    """One method of a model."""

    shape = SHAPE.name
    secrets = SHAPE.secrets

    def prepare(self) -> None:
        if self.request.method in ("GET", "HEAD"):
            Handler.prepare(self)
        else:
            super().prepare()

    def get(self, model: str) -> None:
        describe(self, model)

    head = get

    async def post(self, model: str) -> None:  # type: ignore[override]
        asked = paths.asked(self.request.path)
        assert asked is not None
        operation: Any = counting(SHAPE.name) if asked.method == _COUNT else carried_method(SHAPE.name, asked.method)
        await self.serve(operation)


class Predict(CountTokens):
    """Anthropic's models on Vertex AI, in their own API: the model stands in the path, and `stream` in the body."""

    async def post(self, model: str | None = None) -> None:
        if model == _CLAUDES_COUNT:
            await super().post()
        else:
            await self.serve(asking(self.shape), model=unquote(model or ""))

"""The methods of Google's API with the model in the path, other than its answers: token counts, and what is carried as it is.

A model's own path is also that of its description, and a name may have a colon: GET describes, whatever stands behind the last one.
"""

from __future__ import annotations

from typing import Any

from ..codecs.gemini import paths
from ..codecs.gemini.shape import SHAPE
from ..proxy.exchange.operation import carried_method, counting
from .model import ModelHandler
from .models import describe

_COUNT = "countTokens"


class Method(ModelHandler):
    """One method of a model."""

    shape = SHAPE.name
    secrets = SHAPE.secrets

    def prepare(self) -> None:
        if self.request.method == "GET":
            self.guard()
        else:
            super().prepare()

    def get(self, model: str) -> None:
        describe(self, model)

    async def post(self, model: str) -> None:  # type: ignore[override]
        asked = paths.asked(self.request.path)
        assert asked is not None
        operation: Any = counting(SHAPE.name) if asked.method == _COUNT else carried_method(SHAPE.name, asked.method)
        await self.serve(operation, await self.body())

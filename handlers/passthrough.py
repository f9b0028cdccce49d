"""POST /v1/embeddings and the other OpenAI paths with a model: forwarded to the model's upstream."""

from __future__ import annotations

from ..codecs.registry import USUAL
from ..proxy.exchange.operation import carried
from .model import ModelHandler

_OPERATIONS = USUAL.operations
assert _OPERATIONS is not None
PATHS = f"(?P<path>{_OPERATIONS.pattern.removeprefix('/')})/*"
SHOWN = ("/embeddings", "/completions", "/moderations", "/rerank", "/images/{operation}", "/audio/{operation}")


class Passthrough(ModelHandler):
    """An operation of a model, forwarded to its upstream as it is."""

    shape = USUAL.name

    async def post(self, path: str, model: str | None = None) -> None:  # type: ignore[override]
        await self.serve(carried(path), model=model)

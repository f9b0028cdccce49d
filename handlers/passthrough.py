"""POST /v1/embeddings and the other OpenAI paths with a model: carried to the model's upstream."""

from __future__ import annotations

from tornado.web import stream_request_body

from ..proxy.exchange.operation import carried
from .model import ModelHandler

PATHS = r"(embeddings|completions|moderations|rerank|images/[a-z]+|audio/[a-z]+)/*"


@stream_request_body
class Passthrough(ModelHandler):
    shape = "chat"

    async def post(self, path: str) -> None:  # type: ignore[override]
        await self.serve(carried(path), self._body())

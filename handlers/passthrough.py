"""POST /v1/embeddings and the other OpenAI paths with a model: carried to the model's upstream."""

from __future__ import annotations

import asyncio

from tornado.web import stream_request_body

from ..codecs import errors
from ..proxy.exchange import relay
from ..proxy.exchange.caller import Client
from ..proxy.keys.cost import cost
from ..proxy.wire import headers as travel
from .model import ModelHandler

PATHS = r"(embeddings|completions|moderations|rerank|images/[a-z]+|audio/[a-z]+)/*"


@stream_request_body
class Passthrough(ModelHandler):
    shape = "chat"

    async def post(self, path: str) -> None:  # type: ignore[override]
        headers = self.request.headers
        gateway = self.gateway
        credential = travel.credential(headers, "chat")
        name = gateway.access.admit(credential)
        body = self._body()
        asked = relay.Asked(body, headers.get("Content-Type", ""))
        if asked.model is None:
            raise errors.Missing("`model` is required.", param="model")
        gateway.check_model(name, asked.model)
        if asked.scan is not None:
            gateway.check_models(name, asked.scan, body)
        candidates = gateway.affordable(name, gateway.router.candidates("chat", asked.model).candidates)
        candidate = next((c for c in candidates if not c.built_in), None)
        if candidate is None or candidate.shape == "messages":
            raise errors.NoCandidate(f"The model `{asked.model[:200]}` does not serve /{path}.", param="model")
        limited = await gateway.quota.admit(name, "chat")
        limit = gateway.config.limits.max_event
        request = relay.upstream_request(candidate, f"/{path}", headers, asked.renamed(candidate.model), credential, limit)
        self._client = Client(self, gateway.config.limits.client_stall)
        self._task = asyncio.current_task()
        own = {"x-request-id": self.request_id}
        try:
            usage = await relay.carry(gateway, self._client, candidate, request, own, limited)
            gateway.quota.settle(name, usage, cost(usage, candidate.price))
        except asyncio.CancelledError:
            if not self._client.gone:
                raise

    def on_connection_close(self) -> None:
        super().on_connection_close()
        task = getattr(self, "_task", None)
        if task is not None:
            self._client.gone = True
            task.cancel()

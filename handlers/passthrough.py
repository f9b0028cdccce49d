"""POST /v1/embeddings and the other OpenAI paths with a model: carried to the model's upstream."""

from __future__ import annotations

import asyncio

from ..codecs import errors
from ..codecs.registry import USUAL
from ..proxy.exchange import relay
from ..proxy.exchange.caller import Client
from ..proxy.keys.cost import cost
from ..proxy.routing.router import Candidate
from ..proxy.wire import headers as travel
from .model import ModelHandler

_OPERATIONS = USUAL.operations
assert _OPERATIONS is not None
PATHS = f"({_OPERATIONS.pattern.removeprefix('/')})/*"


def carried(candidate: Candidate, path: str) -> bool:
    """Whether upstreams of the candidate's family serve such a path."""
    operations = candidate.speaks.operations
    return operations is not None and operations.fullmatch(f"/{path}") is not None


class Passthrough(ModelHandler):
    shape = USUAL.name

    async def post(self, path: str) -> None:  # type: ignore[override]
        headers = self.request.headers
        gateway = self.gateway
        credential = travel.credential(headers, self.shape)
        name = gateway.access.admit(credential)
        asked = await relay.asked(self.body(), headers.get("Content-Type", ""), gateway.config.limits.max_values)
        if asked.model is None:
            raise errors.Missing("`model` is required.", param="model")
        gateway.check_model(name, asked.model)
        candidate = next((c for c in gateway.router.candidates(self.shape, asked.model).candidates if not c.built_in), None)
        if candidate is None or not carried(candidate, path):
            raise errors.NoCandidate(f"The model `{asked.model[:200]}` does not serve /{path}.", param="model")
        limited = await gateway.quota.admit(name, self.shape)
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

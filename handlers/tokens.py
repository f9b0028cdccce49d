"""Token counts for any upstream: POST /v1/messages/count_tokens and POST /v1/responses/input_tokens.

An upstream that counts is asked; for every other the request is estimated, and the answer says so (`x-dragoman-estimate: true`).
"""

from __future__ import annotations

from typing import Any

from tornado.web import stream_request_body

from ..codecs import chat, errors, estimate, jsontext, messages, responses, splice
from ..codecs.ledger import Ledger
from ..codecs.usage import count
from ..proxy.exchange import relay
from ..proxy.exchange.caller import Client
from ..proxy.memory.expansion import Prior
from ..proxy.routing.router import Candidate
from ..proxy.wire import headers as travel
from .model import ModelHandler

_CODECS: dict[str, Any] = {"chat": chat, "messages": messages, "responses": responses}


class _Counter(ModelHandler):
    native_path: str  # of an upstream of this shape that counts itself

    def counts(self, candidate: Candidate) -> bool:
        raise AssertionError("each counter says which upstream counts its shape")

    def answer(self, count: int) -> dict[str, Any]:
        return {"input_tokens": count}

    async def post(self) -> None:
        headers, gateway = self.request.headers, self.gateway
        credential = travel.credential(headers, self.shape)
        name = gateway.access.admit(credential)
        body = self._body()
        scan = splice.scan(body)
        gateway.check_models(name, scan, body)
        candidates = gateway.router.candidates(self.shape, scan.model).candidates
        prior = await self.prior(gateway.owner(name, credential), scan.value, candidates)
        candidate = candidates[0]
        if candidate.shape == self.shape and self.counts(candidate):
            inlined = None if prior is None else prior.inlined(candidate, Ledger())
            if inlined is not None:
                body = jsontext.dumps(inlined)
                scan = splice.scan(body)
            renamed = splice.replace_model(body, scan, candidate.model)
            limit = gateway.config.limits.max_event
            request = relay.upstream_request(candidate, self.native_path, headers, renamed, credential, limit)
            own = {"x-request-id": self.request_id}
            await relay.carry(gateway, Client(self, gateway.config.limits.client_stall), candidate, request, own)
            return
        count = await self._asked(candidate, scan.value, credential)
        if count is None:
            count = estimate.tokens(self._decoded(scan.value, prior))
            self.set_header("x-dragoman-estimate", "true")
        self.set_header("x-dragoman-upstream", candidate.name)
        self.write(self.answer(count))

    async def prior(self, owner: str, body: dict[str, Any], candidates: tuple[Candidate, ...]) -> Prior | None:
        """What the request goes on from, where its shape can."""
        return None

    def _decoded(self, body: dict[str, Any], prior: Prior | None = None) -> Any:
        if prior is not None:
            return responses.decode_request(body, prior.items())
        return _CODECS[self.shape].decode_request({"max_tokens": 1, **body} if self.shape == "messages" else body)

    async def _asked(self, candidate: Candidate, body: dict[str, Any], credential: str | None) -> int | None:
        """What a responses upstream counts for a request of another shape; None when it cannot be asked or does not say."""
        if candidate.shape != "responses" or self.shape == "responses" or not candidate.capabilities.r_input_tokens:
            return None
        encoded = responses.encode_request(self._decoded(body), candidate.capabilities, candidate.model)
        for field in ("stream", "store", "max_output_tokens", "include"):
            encoded.body.pop(field, None)
        limit = self.gateway.config.limits.max_event
        headers = self.request.headers
        request = relay.upstream_request(candidate, "/responses/input_tokens", headers, jsontext.dumps(encoded.body), credential, limit)
        response = await self.gateway.upstream.fetch(request)
        if response.code != 200:
            return None
        try:
            found = jsontext.loads(response.body)
        except ValueError:
            raise errors.Garbled("The upstream's answer is not valid JSON.") from None
        return (count(found.get("input_tokens")) if isinstance(found, dict) else 0) or None


@stream_request_body
class CountTokens(_Counter):
    shape = "messages"
    native_path = "/messages/count_tokens"

    def counts(self, candidate: Candidate) -> bool:
        return candidate.capabilities.m_count_tokens


@stream_request_body
class InputTokens(_Counter):
    shape = "responses"
    native_path = "/responses/input_tokens"

    def counts(self, candidate: Candidate) -> bool:
        return candidate.capabilities.r_input_tokens

    async def prior(self, owner: str, body: dict[str, Any], candidates: tuple[Candidate, ...]) -> Prior | None:
        prior = Prior(self.gateway, owner, body)
        await prior.find(candidates[:1])
        return prior

    def answer(self, count: int) -> dict[str, Any]:
        return {"object": "response.input_tokens", "input_tokens": count}

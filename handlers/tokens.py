"""Token counts for any upstream: POST /v1/messages/count_tokens and POST /v1/responses/input_tokens.

An upstream that counts is asked; for every other the request is estimated, and the answer says so (`x-dragoman-estimate: true`).
"""

from __future__ import annotations

from typing import Any

from ..codecs import errors, estimate, jsontext, splice
from ..codecs.ledger import Ledger
from ..codecs.registry import SHAPES
from ..codecs.request import Request
from ..codecs.shape import TokenCount
from ..proxy.exchange import relay
from ..proxy.exchange.caller import Client
from ..proxy.memory.expansion import Expansion
from ..proxy.routing.router import Candidate
from ..proxy.wire import bodies
from ..proxy.wire import headers as travel
from .model import ModelHandler


class _Counter(ModelHandler):
    @property
    def own(self) -> TokenCount:
        count = SHAPES[self.shape].count
        assert count is not None
        return count

    async def post(self) -> None:
        headers, gateway = self.request.headers, self.gateway
        credential = travel.credential(headers, self.shape)
        name = gateway.access.admit(credential)
        body = self.body()
        scan = await bodies.scan(body, gateway.config.limits.max_values)
        gateway.check_model(name, scan.model)
        candidates = gateway.router.candidates(self.shape, scan.model).candidates
        expansion = await self.expansion(gateway.owner(name, credential), scan.value, candidates)
        candidate = candidates[0]
        if candidate.shape == self.shape and _counts(candidate) is not None:
            inlined = None if expansion is None else expansion.inlined(candidate, Ledger())
            if inlined is not None:
                body = jsontext.dumps(inlined)
                scan = splice.scan(body)
            renamed = splice.replace_model(body, scan, candidate.model)
            limit = gateway.config.limits.max_event
            request = relay.upstream_request(candidate, self.own.path, headers, renamed, credential, limit)
            own = {"x-request-id": self.request_id}
            await relay.carry(gateway, Client(self, gateway.config.limits.client_stall), candidate, request, own)
            return
        count = await self._asked(candidate, scan.value, credential)
        if count is None:
            count = estimate.tokens(self._decoded(scan.value, expansion))
            self.set_header("x-dragoman-estimate", "true")
        self.set_header("x-dragoman-upstream", candidate.name)
        self.write({**self.own.answer, "input_tokens": count})

    async def expansion(self, owner: str, body: dict[str, Any], candidates: tuple[Candidate, ...]) -> Expansion | None:
        """What the request goes on from, where its shape can."""
        return None

    def _decoded(self, body: dict[str, Any], expansion: Expansion | None = None) -> Request:
        decode = SHAPES[self.shape].decode_request
        return decode({**self.own.least, **body}) if expansion is None else decode(body, expansion.items())

    async def _asked(self, candidate: Candidate, body: dict[str, Any], credential: str | None) -> int | None:
        """What an upstream counts for a request of another shape; None when it cannot be asked or does not say."""
        theirs = _counts(candidate)
        if theirs is None or theirs.leaves is None or candidate.shape == self.shape:
            return None
        encoded = candidate.speaks.encode_request(self._decoded(body), candidate.capabilities, candidate.model)
        for field in theirs.leaves:
            encoded.body.pop(field, None)
        limit = self.gateway.config.limits.max_event
        headers = self.request.headers
        request = relay.upstream_request(candidate, theirs.path, headers, jsontext.dumps(encoded.body), credential, limit)
        response = await self.gateway.upstream.fetch(request)
        if response.code != 200:
            return None
        try:
            found = jsontext.loads(response.body)
        except ValueError:
            raise errors.Garbled("The upstream's answer is not valid JSON.") from None
        count = found.get("input_tokens") if isinstance(found, dict) else None
        return count if isinstance(count, int) else None


def _counts(candidate: Candidate) -> TokenCount | None:
    """How an upstream counts; None when it does not."""
    count = candidate.speaks.count
    return count if count is not None and getattr(candidate.capabilities, count.flag) else None


class CountTokens(_Counter):
    shape = "messages"


class InputTokens(_Counter):
    shape = "responses"

    async def expansion(self, owner: str, body: dict[str, Any], candidates: tuple[Candidate, ...]) -> Expansion | None:
        expansion = Expansion(self.gateway, owner, body)
        await expansion.find(candidates[:1])
        return expansion

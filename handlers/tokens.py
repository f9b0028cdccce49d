"""Token counts for any upstream: POST /v1/messages/count_tokens and POST /v1/responses/input_tokens.

An upstream that can count is asked; otherwise the count is an estimate, marked by the header `x-dragoman-estimate: true`.
"""

from __future__ import annotations

from ..proxy.exchange.operation import counting
from .model import ModelHandler


class _Counter(ModelHandler):
    async def post(self, model: str | None = None) -> None:
        await self.serve(counting(self.shape))


class CountTokens(_Counter):
    shape = "messages"


class InputTokens(_Counter):
    shape = "responses"

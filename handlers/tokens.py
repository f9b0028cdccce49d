"""Token counts for any upstream: POST /v1/messages/count_tokens and POST /v1/responses/input_tokens.

An upstream that counts is asked; for every other the request is estimated, and the answer says so (`x-dragoman-estimate: true`).
"""

from __future__ import annotations

from tornado.web import stream_request_body

from ..proxy.exchange.operation import COUNT_TOKENS, INPUT_TOKENS
from .model import ModelHandler


@stream_request_body
class CountTokens(ModelHandler):
    shape = "messages"

    async def post(self) -> None:
        await self.serve(COUNT_TOKENS, self._body())


@stream_request_body
class InputTokens(ModelHandler):
    shape = "responses"

    async def post(self) -> None:
        await self.serve(INPUT_TOKENS, self._body())

"""Amazon Bedrock as these tests configure it and as its double answers."""

from __future__ import annotations

from typing import Any

import orjson

from ..scripted import Request, Steps, respond
from .aws import KEY_ID, SECRET, chunk_of, streamed
from .inside import Inside
from .spoken import ASKED, PATHS
from .wire import request

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PATH = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"
KEYS = f"region: us-east-1, access_key_id: {KEY_ID}, secret_access_key: {SECRET}"
CONFIG = f"""
model_providers:
  - {{model: "bedrock/{MODEL}", name: c, base_url: "UPSTREAM", aws: {{{KEYS}}}MORE}}
"""
IN_REQUESTS = 'guardrail: {id: gr1, version: "3", trace: enabled, stream_mode: async}, request_metadata: {team: a}, project: p1'
EVENT_STREAM = "application/vnd.amazon.eventstream"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"

MESSAGE = {
    "id": "msg_bdrk_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": MESSAGE | {"content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "H"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "i"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 2}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3, "outputTokenCount": 2}},
]
RAW = [orjson.dumps(one) for one in EVENTS]


class Answers:
    """Answers as Bedrock does, and keeps the requests."""

    def __init__(self, *frames: bytes) -> None:
        self.seen: list[Request] = []
        self.frames = frames or tuple(map(chunk_of, RAW))

    def __call__(self, request: Request) -> Steps:
        self.seen.append(request)
        return streamed(*self.frames) if request.target.endswith("-stream") else [respond(MESSAGE, x_amzn_requestid="req-1")]


async def ask(gateway: Inside, shape: str, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    async with gateway.call(request(PATHS[shape], body, **headers)) as caller:
        status, found = await caller.head()
        return status, found, await caller.body(found)


def asked(shape: str = "messages", **more: Any) -> dict[str, Any]:
    return {"model": "c", **ASKED[shape], **more}


def config(more: str = "", **words: str) -> str:
    text = CONFIG.replace("MORE", f", {more}" if more else "")
    for word, value in words.items():
        text = text.replace(word, value)
    return text

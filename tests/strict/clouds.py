"""Claude behind clouds' doors, and Converse: the double of what stands there, by a cloud's paths, bodies and framings.

What the carrier changes is checked by the cloud's rules (providers/bedrock.yaml, vertex_claude.yaml); what it carries, by Anthropic's own.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import orjson

from ..gateway.aws import chunk_of, event, streamed
from ..scripted import Request, Steps, respond
from .double import ARGUMENTS, TEXT, Double
from .matrix import Models
from .rules import JSON, Asked, load

BEDROCK, VERTEX = "bedrock", "vertex_claude"
_BEDROCK = re.compile(r"/model/(?P<model>[^/]+)/(?P<kind>converse|invoke)(?P<streams>-stream|-with-response-stream)?")
_VERTEX = re.compile(r".*/publishers/anthropic/models/(?P<model>[^:]+):(?P<streams>streamRawPredict|rawPredict)")
_ANTHROPIC = re.compile(r"claude-[a-z0-9-]+?(?=-\d{8}|-v\d|@|$)")
_CARRIED = ("anthropic_version", "anthropic_beta")  # what a carrier adds to a body
_USAGE = {"inputTokens": 12, "outputTokens": 7, "totalTokens": 19}

_CLAUDES = ("sonnet-4-5-20250929-v1:0", "opus-4-1-20250805-v1:0", "opus-4-8", "opus-5-5", "sonnet-5")
INVOKED: Models = [(BEDROCK, f"bedrock/us.anthropic.claude-{name}") for name in _CLAUDES]
_OTHERS = (
    *("amazon.nova-2-lite-v1:0", "amazon.nova-pro-v1:0", "meta.llama4-maverick-17b-instruct-v1:0"),
    *("mistral.mistral-large-3-675b-instruct", "qwen.qwen3-32b-v1:0", "deepseek.v3.2", "zai.glm-5.3", "moonshot.kimi-k2-thinking"),
)
CONVERSED: Models = [(BEDROCK, f"bedrock/us.{name}") for name in _OTHERS] + [(BEDROCK, f"converse/{name}") for name in _CLAUDES]
ON_VERTEX: Models = [(VERTEX, f"vertex/claude-{name}") for name in ("sonnet-4-5@20250929", "opus-4-8", "opus-5-5")]
CLOUDS = [*INVOKED, *CONVERSED, *ON_VERTEX]


def configuration(models: Models, urls: dict[str, str]) -> str:
    lines = ["listeners: [{type: model, address: 127.0.0.1, port: PORT}]", "model_providers:"]
    for provider, model in models:
        asked, more = model, "aws: {region: us-east-1}"
        if model.startswith("converse/"):  # the same model by the other API
            asked = f"bedrock/us.anthropic.claude-{model.partition('/')[2]}"
            more += f', name: "{model}", apis: [converse]'
        base = urls[provider]
        if provider == VERTEX:
            base, more = f"{base}/v1/projects/p/locations/global/publishers/anthropic", "gcp: {project: p}"
        lines.append(f'  - {{model: "{asked}", base_url: "{base}", access_key: k, {more}}}')
    return "\n".join(lines)


class Behind(Double):
    """One cloud. The rules of what is carried are Anthropic's."""

    def script(self, request: Request) -> Steps:
        asked = self._read(request)
        if asked is None:
            return [respond({"message": "no such path"}, 404)]
        self.asked.append(asked)
        for provider, seen in ((self.provider, asked), (load("anthropic"), _unwrapped(asked))):
            rule = provider.first_violation(seen)
            if rule is not None:
                self.violations.append((rule.id, seen))
                status, headers, body = self.provider.refusal(rule, seen)
                return [respond(body, status, content_type="application/json", **headers)]
        return self._converse(asked) if asked.shape == "converse" else self._carried(asked)

    def _read(self, request: Request) -> Asked | None:
        path = request.target.partition("?")[0]
        if (found := _BEDROCK.fullmatch(path)) is not None:
            streams = found["streams"] is not None
            return Asked(found["kind"], orjson.loads(request.body), request.headers, self.options, unquote(found["model"]), streams)
        if (found := _VERTEX.fullmatch(path)) is not None:
            named, streams = unquote(found["model"]), found["streams"] == "streamRawPredict"
            return Asked("messages", orjson.loads(request.body), request.headers, self.options, named, streams)
        return None

    def _carried(self, asked: Asked) -> Steps:
        answer = self._answer(_unwrapped(asked))
        if asked.shape != "invoke" or not asked.streams:
            return answer.steps(asked.streams)
        return streamed(*(chunk_of(one.partition(b"data: ")[2].rstrip()) for one in answer.events))

    def _converse(self, asked: Asked) -> Steps:
        calls = self._calls(replace(asked, body=_as_messages(asked.body)))
        blocks: list[JSON] = [{"toolUse": {"toolUseId": id, "name": name, "input": orjson.loads(ARGUMENTS)}} for id, name in calls] or [
            {"text": TEXT}
        ]
        reason = "tool_use" if calls else "end_turn"
        if not asked.streams:
            said = {"output": {"message": {"role": "assistant", "content": blocks}}, "stopReason": reason, "usage": _USAGE}
            return [respond(said, x_amzn_requestid="req-1")]
        frames = [event("messageStart", {"role": "assistant"})]
        for number, block in enumerate(blocks):
            at, call = {"contentBlockIndex": number}, block.get("toolUse")
            if call is not None:
                frames.append(event("contentBlockStart", at | {"start": {"toolUse": {key: call[key] for key in ("toolUseId", "name")}}}))
            delta = {"text": TEXT} if call is None else {"toolUse": {"input": ARGUMENTS}}
            frames += [event("contentBlockDelta", at | {"delta": delta}), event("contentBlockStop", at)]
        return streamed(*frames, event("messageStop", {"stopReason": reason}), event("metadata", {"usage": _USAGE}))


def _unwrapped(asked: Asked) -> Asked:
    """What is carried, as Anthropic would see it. Of Converse there is nothing."""
    if asked.shape == "converse":
        return asked
    found = _ANTHROPIC.search(asked.named)
    betas = asked.body.get("anthropic_beta")
    headers = dict(asked.headers) | ({"anthropic-beta": ",".join(betas)} if isinstance(betas, list) else {})
    body = {"model": found[0] if found else asked.named} | {key: value for key, value in asked.body.items() if key not in _CARRIED}
    return Asked("messages", body, headers, asked.options, body["model"], asked.streams)


def _as_messages(body: JSON) -> JSON:
    """As much of a body of Converse, in Anthropic's words, as the double needs to know whether to call a tool."""
    tools = (body.get("toolConfig") or {}).get("tools") or ()
    blocks = [block for message in body.get("messages") or () for block in message["content"]]
    results: list[Any] = [{"type": "tool_result"} for block in blocks if "toolResult" in block]
    return {
        # what is declared without a description was called before, and must not be called again
        "tools": [{"name": tool["toolSpec"]["name"]} for tool in tools if "description" in tool.get("toolSpec", ())],
        "messages": [{"role": "user", "content": results}],
    }

"""One gateway, one scripted upstream of each API, and Google's SDK as the client: what the tests of gemini callers play on.

google.play(message(said("Hi")))                  what the upstream answers from now on, as of Stage.play
google.client.models.generate_content(…)          the SDK
google.talk(body, "messages/m", stream=True)      bare bytes: what a program writes that has no SDK
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Self

import httpx
from google import genai

from ..scripted import Provider, Request, Steps, respond, sse, stream
from .stage import ALICE, BOB, KEY, Script
from .upstreams import JSON, Answer
from .wire import Wire, request

HI: JSON = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
UPSTREAMS = ("chat", "messages", "responses")

CONFIG = f"""
listeners: [{{type: model, address: 127.0.0.1, port: PORT}}]
keep_alive: {{stream: 0.2, begin_after: 0.3}}
access_keys:
  - {{key: {ALICE}, name: alice}}
  - {{key: {BOB}, name: bob, models: ["chat/*"], requests_per_minute: 1000}}
model_providers:
  - {{model: "chat/*", base_url: "UPSTREAM/v1", apis: [chat_completions], provider_interface: openai, access_key: {KEY}}}
  - {{model: "messages/*", base_url: "UPSTREAM/v1", apis: [messages], provider_interface: anthropic, access_key: {KEY}}}
  - {{model: "responses/*", base_url: "UPSTREAM/v1", apis: [responses], provider_interface: openai, access_key: {KEY}}}
  - {{model: "google/*", base_url: "UPSTREAM/v1beta", apis: [gemini], provider_interface: gemini, access_key: {KEY}}}
  - model: "google/signed"
    base_url: "UPSTREAM/v1beta"
    apis: [gemini]
    provider_interface: gemini
    access_key: {KEY}
    capabilities: {{g.signatures: required}}
  - {{model: "own/*", base_url: "UPSTREAM/v1beta", apis: [gemini], provider_interface: gemini, passthrough_auth: true}}
  - {{model: "demo/*"}}
model_aliases: {{gem: {{target: google/g}}, llama3:8b: {{target: chat/llama}}}}
"""


def candidate(*parts: JSON, finish: str | None = None, **more: Any) -> JSON:
    """One chunk of Google's."""
    said = {"content": {"role": "model", "parts": list(parts)}} if parts else {}
    ended = {"finishReason": finish} if finish else {}
    return {"candidates": [said | ended | {"index": 0}], "modelVersion": "g", "responseId": "r1", **more}


USAGE = {"promptTokenCount": 12, "candidatesTokenCount": 7, "totalTokenCount": 19}


def googled(*chunks: JSON) -> Callable[[Request], Steps]:
    """Google's stream of these chunks, or the one whole answer."""

    def script(request: Request) -> Steps:
        streamed = ":streamGenerateContent" in request.target
        return stream(*(sse(one) for one in chunks)) if streamed else [respond(chunks[0])]

    return script


class Google:
    """Use it as a context manager over a running gateway and its provider."""

    def __init__(self, url: str, provider: Provider) -> None:
        self.url, self.provider = url, provider
        self.http = httpx.Client(base_url=url, timeout=30)
        self.client = self.sdk()
        self._scripts: list[Script] = []
        self._begin = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.client.close()

    def sdk(self, **more: Any) -> genai.Client:
        return genai.Client(**{"api_key": ALICE, "http_options": {"base_url": self.url}, **more})

    def play(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self._begin = len(self.provider.requests)

    def answer(self, request: Request) -> Steps:
        """The provider's script. What is not asked for a caller (lists of models, probes) is not part of it."""
        if request.method != "POST":
            return [respond({}, 404)]
        turn = len(self.requests) - 1
        script = self._scripts[0 if len(self._scripts) == 1 else turn]
        if isinstance(script, Answer):
            return script.steps(bool(request.json.get("stream")))
        return script(request) if callable(script) else script

    @property
    def requests(self) -> list[Request]:
        return [request for request in self.provider.requests[self._begin :] if request.method == "POST"]

    @property
    def asked(self) -> list[Any]:
        return [request.json for request in self.requests]

    # -- bare bytes --

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        named = {"x-goog-api-key": ALICE} | {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(path, content=content, headers=named | {"content-type": "application/json"})

    def whole(self, body: JSON, model: str) -> JSON:
        found = self.post(f"/v1beta/models/{model}:generateContent", body)
        assert found.status_code == 200, found.text
        return found.json()  # type: ignore[no-any-return]

    def chunks(self, body: JSON, model: str) -> list[JSON]:
        """A stream's chunks. There is nothing else in it."""
        found = self.post(f"/v1beta/models/{model}:streamGenerateContent?alt=sse", body)
        assert found.status_code == 200, found.text
        events = [event for event in found.text.split("\n\n") if event.strip()]
        assert all(event.strip().startswith("data: {") for event in events)
        return [json.loads(event.strip()[6:]) for event in events]

    def wire(self, model: str, body: JSON = HI, query: str = "?alt=sse") -> Wire:
        """A stream that has been asked for, and may be cut."""
        wire = Wire(int(self.url.rpartition(":")[2]), seconds=25)
        wire.send(request(f"/v1beta/models/{model}:streamGenerateContent{query}", body, **{"x-goog-api-key": ALICE}))
        return wire


def parts_of(chunks: list[JSON]) -> list[JSON]:
    return [part for one in chunks for part in one["candidates"][0]["content"]["parts"]]

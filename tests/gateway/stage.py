"""One gateway, one scripted upstream, and the vendors' SDKs as clients: what the acceptance tests play on.

stage.play(message(said("Hi")))              what the upstream answers from now on; play(a, b): first a, then b, and no third request
stage.oai.chat.completions.create(…)         the SDKs (one call is one request: they never try again)
stage.post("messages", body)                 bare bytes; `.content` is what came back
stage.asked                                  the bodies that the upstream has received since `play`

A model's name says who answers: `chat/m`, `messages/m` and `responses/m` are models of an upstream of that shape that knows no
extensions, `bare-chat` and so on are asked for by the upstream's own name, `-own` sends the caller's credential on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import anthropic
import httpx
import openai

from ..scripted import LAST_CHUNK, Gate, Provider, Request, Steps, chunk, stream_head, wait
from .spoken import APIS, PATHS, SHAPE_AT, SHAPES
from .upstreams import JSON, Answer, text_answer
from .wire import Wire, request

ALICE, BOB = "alice-key-000000", "bob-key-00000000"
KEY = "sk-upstream"
SILENT = 3600  # seconds that an upstream may be silent: as long as the tests that use one stage take
PAIRS = [(client, upstream) for client in SHAPES for upstream in SHAPES]
TRANSLATED = [(client, upstream) for client, upstream in PAIRS if client != upstream]

Script = Answer | Steps | Callable[[Request], Steps]

GOOD: dict[str, JSON] = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100},
    "responses": {"input": "Hi"},
}


def configuration(upstream: str) -> str:
    lines = ["listeners: [{type: model, address: 127.0.0.1, port: PORT}]", "access_keys:"]
    lines += [f"  - {{key: {ALICE}, name: alice}}", f"  - {{key: {BOB}, name: bob}}", "model_providers:"]
    for shape in SHAPES:
        shared = f'base_url: "{upstream}/v1", apis: [{APIS[shape]}], provider_interface: openai'
        lines += [
            f'  - {{model: "{shape}/*", {shared}, access_key: {KEY}, timeouts: {{idle: {SILENT}}},'
            f" capabilities: {{reasoning_domain: {shape}-home}}}}",
            f'  - {{model: "{shape}/bare-{shape}", {shared}, access_key: {KEY}}}',
            f'  - {{model: "{shape}-own/*", {shared}, passthrough_auth: true}}',
        ]
        lines += [
            f'  - {{model: "{shape}-{name}/*", {shared}, access_key: {KEY}, capabilities: {flags}}}'
            for owner, name, flags in VARIANTS
            if owner == shape
        ]
    return "\n".join(lines)


# upstreams that can do more, or less: shape, suffix of the name, capabilities
VARIANTS = [("messages", "mid", "{m.mid_system: true}")]


class Silence:
    """A stream of every pair that stops after its first word until the gate opens: its keep-alives come while other tests run."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.streams: list[tuple[str, str, Wire]] = []

    def script(self, request: Request) -> Steps:
        events = text_answer(SHAPE_AT[request.target], "Hello", "?").events
        return [stream_head(), *map(chunk, events[:-3]), wait(self.gate), *map(chunk, events[-3:]), LAST_CHUNK]

    def begin(self, url: str) -> None:
        for client, upstream in PAIRS:
            wire = Wire(int(url.rpartition(":")[2]), seconds=25)
            body = {"model": f"{upstream}/m", **GOOD[client], "stream": True}
            wire.send(request(PATHS[client], body, authorization=f"Bearer {ALICE}"))
            assert wire.head()[0] == 200
            heard = b""
            while b"?" not in heard:
                heard += wire.chunk()
            self.streams.append((client, upstream, wire))

    def end(self) -> None:
        for _, _, wire in self.streams:
            wire.sock.close()


class Stage:
    """Use it as a context manager over a running gateway and its provider."""

    def __init__(self, url: str, provider: Provider) -> None:
        self.url = url
        self.provider = provider
        self.oai = openai.OpenAI(api_key=ALICE, base_url=f"{url}/v1", max_retries=0, timeout=30)
        self.ant = anthropic.Anthropic(api_key=ALICE, base_url=url, max_retries=0, timeout=30)
        self.http = httpx.Client(base_url=url, headers={"authorization": f"Bearer {ALICE}"}, timeout=30)
        self.silent = Silence()
        self._scripts: list[Script] = []
        self._begin = 0

    def __enter__(self) -> Self:
        self.play(self.silent.script)
        self.silent.begin(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self.silent.end()
        for client in (self.oai, self.ant, self.http):
            client.close()

    # -- the upstream --

    def play(self, *scripts: Script) -> None:
        """One script answers every request; of several, each answers one."""
        self._scripts = list(scripts)
        self._begin = len(self.provider.requests)

    def answer(self, request: Request) -> Steps:
        """The provider's script."""
        turn = len(self.provider.requests) - self._begin - 1
        script = self._scripts[0 if len(self._scripts) == 1 else turn]
        if isinstance(script, Answer):
            return script.steps(bool(request.json.get("stream")))
        return script(request) if callable(script) else script

    @property
    def requests(self) -> list[Request]:
        return self.provider.requests[self._begin :]

    @property
    def asked(self) -> list[Any]:
        return [request.json for request in self.requests]

    # -- the clients --

    def post(self, shape: str, body: JSON | bytes, **headers: str) -> httpx.Response:
        """headers: with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()} | {"content-type": "application/json"}
        if isinstance(body, bytes):
            return self.http.post(PATHS[shape], content=body, headers=named)
        return self.http.post(PATHS[shape], json=body, headers=named)

    def raw(self, client: str, upstream: str, **more: Any) -> bytes:
        """A stream's bytes. The answer must have begun as one."""
        answer = self.post(client, {"model": f"{upstream}/m", **GOOD[client], "stream": True, **more})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        return answer.content

    def whole(self, client: str, upstream: str, **more: Any) -> Any:
        """A whole answer's JSON."""
        answer = self.post(client, {"model": f"{upstream}/m", **GOOD[client], **more})
        assert answer.status_code == 200, answer.text
        return answer.json()

"""Recorded answers of Google's API, and of the others for a Google caller, played through a gateway and judged by what SDKs reassemble.

The corpus' judge knows three APIs: its clients, its truths and its comparison are used here, and what is missing for the fourth is added.
Answers without a faithful form stand in expected_differences.yaml, each with its reason.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
from google import genai

from tests.conftest import Running, free_port
from tests.scripted import LAST_CHUNK, Provider, Request, Steps, chunk, respond, stream_head

from .test_corpus import CORPUS, EXPECTED

JSON = dict[str, Any]
FOREIGN = ("chat", "messages", "responses")
PAIRS = [*(("gemini", client) for client in (*FOREIGN, "gemini")), *((upstream, "gemini") for upstream in FOREIGN)]
CONFIG = """\
listeners: [{type: model, port: PORT, address: 127.0.0.1}]
model_providers:
  - {model: c/*, provider_interface: openai, apis: [chat_completions], base_url: "URL", access_key: k}
  - {model: m/*, provider_interface: anthropic, apis: [messages], base_url: "URL", access_key: k}
  - {model: r/*, provider_interface: openai, apis: [responses], base_url: "URL", access_key: k}
  - {model: g/*, provider_interface: gemini, apis: [gemini], base_url: "URL", access_key: k}
"""
PREFIX = {"chat": "c", "messages": "m", "responses": "r", "gemini": "g"}
# words and numbers of recordings; all others are no usable answer
FINISHES = {"STOP": "stop", 1: "stop", "MAX_TOKENS": "length", 2: "length", "SAFETY": "filter", 3: "filter", "MODEL_ARMOR": "filter"}

pytestmark = pytest.mark.skipif(not CORPUS, reason="DRAGOMAN_CORPUS names no folder of recordings")


@pytest.fixture(scope="module")
def judge() -> Any:
    path = Path(CORPUS) / "judge.py"
    spec = importlib.util.spec_from_file_location("corpus_judge", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        spec.loader.exec_module(module)
    return module


class Recorded(NamedTuple):
    """truth: what the recording says, as the judge's Answer."""

    name: str
    shape: str
    stream: bool
    raw: bytes
    truth: Any


def usage_of(usage: JSON) -> tuple[int, int, int] | None:
    def count(name: str) -> int:
        return usage.get(name) or 0

    if not usage:
        return None
    output = count("candidatesTokenCount") + count("thoughtsTokenCount")
    prompt = count("promptTokenCount") + count("toolUsePromptTokenCount")
    if usage.get("promptTokenCount") is None:
        prompt = max(0, count("totalTokenCount") - output)
    return prompt, output, count("cachedContentTokenCount")


def truth_of(judge: Any, chunks: list[JSON]) -> Any:
    """What an answer of Google's says, as plainly as possible: chunks hold new parts, the last finish and the last usage count."""
    text = reasoning = ""
    calls: list[tuple[str, Any]] = []
    finish: Any = None
    usage: JSON = {}
    for one in chunks:
        usage |= {key: value for key, value in (one.get("usageMetadata") or {}).items() if value is not None}
        if (one.get("promptFeedback") or {}).get("blockReason"):
            finish = "SAFETY"
        for candidate in [each for each in one.get("candidates") or [] if not each.get("index")][:1]:
            for part in (candidate.get("content") or {}).get("parts") or []:
                if isinstance(part.get("text"), str):
                    text, reasoning = (text, reasoning + part["text"]) if part.get("thought") else (text + part["text"], reasoning)
                if "functionCall" in part and part["functionCall"].get("name"):
                    calls.append((part["functionCall"]["name"], part["functionCall"].get("args") or {}))
            finish = candidate.get("finishReason") or finish
    told = FINISHES.get(finish)
    return judge.Answer(text, reasoning, "", calls, "tool" if told == "stop" and calls else told, usage_of(usage))


@pytest.fixture(scope="module")
def recorded(judge: Any) -> list[Recorded]:
    found = [Recorded(*each) for each in judge.load(Path(CORPUS) / "recordings", None, None)]
    for meta in sorted(Path(CORPUS, "recordings", "gemini").glob("*/*/meta.json")):
        told = json.loads(meta.read_text())
        if told["kind"] not in ("stream", "json") or "streamed_function_args" in told["quirks"]:
            continue  # arguments in pieces have tests of their own, with literal data
        stream = told["kind"] == "stream"
        events = meta.with_name("response.sse")
        raw = (events if events.exists() else meta.with_name("response.json")).read_bytes()
        value = list(judge.sse_payloads(raw)) if events.exists() else json.loads(raw)
        truth = truth_of(judge, value if isinstance(value, list) else [value])
        if truth.finish is not None:
            found.append(Recorded(told["name"], "gemini", stream, raw, truth))
    return found


class Clients:
    """A client of each API."""

    def __init__(self, judge: Any, url: str) -> None:
        self._judge = judge
        self._others = judge.Clients(url)
        self._google = genai.Client(api_key="k", http_options={"base_url": url, "timeout": 30_000})

    def close(self) -> None:
        for each in (self._google, self._others.http, self._others.oai, self._others.ant):
            each.close()

    def differences(self, one: Recorded, client: str) -> list[str]:
        model = f"{PREFIX[one.shape]}/{one.name}"
        try:
            if client == one.shape:
                return list(self._unchanged(model, one))
            got = self._asked(model, one.stream) if client == "gemini" else getattr(self._others, client)(model, one.stream)
        except Exception as error:
            return [f"{type(error).__name__}: {str(error)[:160]}"]
        return list(self._judge.differences(one.truth, got, client))

    def _asked(self, model: str, stream: bool) -> Any:
        """What Google's SDK makes of an answer."""
        asked = {"model": model, "contents": "x", "config": {"thinking_config": {"include_thoughts": True}}}
        if not stream:
            return truth_of(self._judge, [self._dumped(self._google.models.generate_content(**asked))])
        found = [self._dumped(each) for each in self._google.models.generate_content_stream(**asked)]
        finishes = [each for each in found if each["candidates"][0].get("finishReason")]
        assert finishes == found[-1:], f"{len(finishes)} finish reasons"
        assert all(each["candidates"][0]["content"]["parts"] for each in found), "a chunk without parts"
        calls = [part["functionCall"] for each in found for part in each["candidates"][0]["content"]["parts"] if "functionCall" in part]
        assert all(call.get("id") for call in calls), "a call without an id"
        return truth_of(self._judge, found)

    @staticmethod
    def _dumped(answer: Any) -> JSON:
        return json.loads(answer.model_dump_json(by_alias=True, exclude_none=True))  # type: ignore[no-any-return]

    def _unchanged(self, model: str, one: Recorded) -> Iterator[str]:
        method = "streamGenerateContent?alt=sse" if one.stream else "generateContent"
        told = self._others.http.post(f"/v1beta/models/{model}:{method}", json={"contents": [{"parts": [{"text": "x"}]}]})
        if told.content.replace(b"\r\n", b"\n") != one.raw.replace(b"\r\n", b"\n"):
            yield f"status {told.status_code}, {len(told.content)} bytes for {len(one.raw)}"


@pytest.fixture(scope="module")
def clients(judge: Any, recorded: list[Recorded], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    bodies = {one.name: one for one in recorded}

    def script(request: Request) -> Steps:
        if request.method != "POST":
            return [respond({}, 404)]
        name = request.target if ":" in request.target else request.json["model"]
        one = bodies[unquote(name).rpartition("/")[2].partition(":")[0]]
        if one.stream and not one.raw.lstrip().startswith(b"["):
            return [stream_head(), chunk(one.raw), LAST_CHUNK]
        return [respond(json.loads(one.raw)) if one.shape != "gemini" else plain(one.raw)]

    config = tmp_path_factory.mktemp("corpus") / "corpus.yaml"
    port = free_port()
    with Provider(script) as provider:
        config.write_text(CONFIG.replace("URL", provider.url).replace("PORT", str(port)))
        gateway = Running([str(config)], port)
        found = Clients(judge, gateway.url)
        yield found
        found.close()
        gateway.close()


def plain(raw: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(raw), raw)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("upstream", "client"), PAIRS, ids=[f"{upstream}-{client}" for upstream, client in PAIRS])
def test_recordings_arrive_whole(clients: Clients, recorded: list[Recorded], upstream: str, client: str) -> None:
    played = [one for one in recorded if one.shape == upstream and not (client == upstream and one.raw.lstrip().startswith(b"["))]
    assert len(played) > 100
    judged: Callable[[Recorded], list[str]] = lambda one: clients.differences(one, client)  # noqa: E731
    with ThreadPoolExecutor(4) as pool:
        found = zip(played, pool.map(judged, played), strict=True)
    differing = {f"{upstream}->{client} {'stream' if one.stream else 'whole'} {one.name}": what for one, what in found if what}
    unexpected = {name: what for name, what in differing.items() if name not in EXPECTED}
    assert not unexpected, "\n".join(f"{name}: {'; '.join(what)}" for name, what in unexpected.items())
    resolved = {name for name in EXPECTED if name.startswith(f"{upstream}->{client} ")} - differing.keys()
    assert not resolved, f"no longer different: {sorted(resolved)}"

"""The built-in provider `demo/*`: a chat upstream without a key and without a network.

It stands where UpstreamClient stands and answers in the chat shape through the same callbacks, so that everything between it and
the client is the product itself: other client shapes are translated, streams are paced, a failure in the middle is told.

echo    streams the last user message back, word by word; where structured output is asked for, an instance of the schema that holds it
tool    calls the tool that it must call, else the first that it was given, with arguments as its schema has them; else says that it was
        given none. After results it says them, whatever an agent adds behind them: a second call would have no end
think   reasons first
slow    paces its words
error   fails in the middle

They end where a model would: before a stop sequence, and after as many tokens as the answer may have, of which each word is one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from io import BytesIO
from time import time
from typing import Any, NamedTuple

import orjson
from tornado.httpclient import HTTPResponse
from tornado.httputil import HTTPHeaders

from ...codecs import jsontext, sse
from ...codecs.anything import at, dicts_of
from ...codecs.sample import instance
from ..wire.headers import nonce
from ..wire.upstream import UpstreamRequest

MODELS = ("echo", "tool", "think", "slow", "error")
ARGUMENT = "demo"  # what strings of arguments hold: nothing that does harm where a tool is run
MOST_CHOICES = 128  # in one answer, as OpenAI
SLOW = 0.1  # seconds between two words of demo/slow
_LIMITS = ("max_tokens", "max_completion_tokens")
_OLD = "function_call"  # the kind of a call to one of `functions`, which came before `tools`, and the member that it is
_WORD = re.compile(r"\S+\s*|\s+")


class DemoClient:
    """Answers chat completions requests in this process."""

    def fetch(self, request: UpstreamRequest) -> asyncio.Future[HTTPResponse]:
        """As UpstreamClient.fetch: the future gives the response, and aborts the call when cancelled."""
        return asyncio.get_running_loop().create_task(self._fetch(request))

    async def _fetch(self, request: UpstreamRequest) -> HTTPResponse:
        asked: dict[str, Any] = orjson.loads(request.body or b"{}")
        model = asked["model"]
        if model not in MODELS:
            known = ", ".join(f"demo/{name}" for name in MODELS)
            return self._respond(request, 404, _error(f"Unknown model demo/{model}; available are {known}.", "model_not_found"))
        if _choices(asked) > MOST_CHOICES:
            return self._respond(request, 400, _error(f"n may be at most {MOST_CHOICES}.", "integer_above_max_value"))
        if model == "error" and not asked.get("stream"):
            return self._respond(request, 500, _error("demo/error fails on purpose.", "demo_error"))
        if asked.get("stream"):
            return await self._stream(request, asked)
        return self._respond(request, 200, _whole(asked, _answer(asked)))

    def _respond(self, request: UpstreamRequest, status: int, body: dict[str, Any]) -> HTTPResponse:
        headers = HTTPHeaders({"Content-Type": "application/json"})
        if request.on_headers is not None:
            request.on_headers(status, headers)
        return HTTPResponse(request, status, headers, BytesIO(orjson.dumps(body)))

    async def _stream(self, request: UpstreamRequest, asked: dict[str, Any]) -> HTTPResponse:
        headers = HTTPHeaders({"Content-Type": "text/event-stream"})
        assert request.on_headers is not None
        request.on_headers(200, headers)
        receive = request.streaming_callback
        assert receive is not None
        async for frame in _frames(asked):
            pending = receive(frame)
            if pending is not None:
                await pending
        return HTTPResponse(request, 200, headers, BytesIO(b""))


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(p["text"] for p in parts if isinstance(p, dict) and isinstance(p.get("text"), str))


def _last_user_text(asked: dict[str, Any]) -> str:
    texts = [_text(m.get("content")) for m in dicts_of(asked, "messages") if m.get("role") == "user"]
    return next((text for text in reversed(texts) if text), "(nothing was said)")


def _result(asked: dict[str, Any]) -> dict[str, Any] | None:
    """The last result since the model spoke last; None when it has been given none."""
    for message in dicts_of(asked, "messages")[::-1]:
        if message.get("role") in ("tool", "function"):
            return message
        if message.get("role") == "assistant":
            break
    return None


def _tool(asked: dict[str, Any]) -> dict[str, Any] | None:
    """The tool to call: the one that must be called, else the first."""
    choice, declared = asked.get("tool_choice"), asked.get("tools")
    if not declared and isinstance(functions := asked.get("functions"), list):
        choice, declared = asked.get(_OLD), [{"type": _OLD, _OLD: one} for one in functions]
        choice = {"type": _OLD, _OLD: choice} if isinstance(choice, dict) else choice
    tools: list[dict[str, Any]] = [tool for tool in declared or () if isinstance(tool, dict) and _named(tool)]
    if choice == "none" or not tools:
        return None
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools", {}).get("tools") or [{}]
        choice = allowed[0]
    wanted = _named(choice) if isinstance(choice, dict) else ""
    return next((tool for tool in tools if _named(tool) == wanted), tools[0])


def _named(tool: dict[str, Any]) -> str:
    inner = tool.get(str(tool.get("type")))
    return str(inner.get("name") or "") if isinstance(inner, dict) else ""


def _call(tool: dict[str, Any]) -> list[dict[str, Any]]:
    """The deltas of a call: its beginning, and its text."""
    kind = tool["type"]
    if kind == "custom":
        key, text = "input", ARGUMENT
    else:
        key, text = "arguments", jsontext.dumps(instance(tool[kind].get("parameters") or {"type": "object"}, ARGUMENT)).decode()
    if kind == _OLD:
        return [{_OLD: {"name": _named(tool), key: ""}}, {_OLD: {key: text}}]
    begun = {"index": 0, "id": f"call_{nonce(12)}", "type": kind, kind: {"name": _named(tool), key: ""}}
    return [{"tool_calls": [begun]}, {"tool_calls": [{"index": 0, kind: {key: text}}]}]


def _structured(asked: dict[str, Any], text: str) -> str:
    """The text as the answer has to have it."""
    form = asked.get("response_format")
    kind = at(form, "type")
    if kind == "json_object":
        return jsontext.dumps({"text": text}).decode()
    if kind != "json_schema":
        return text
    schema = at(form, "json_schema", "schema")
    return jsontext.dumps(instance(schema if schema is not None else {"type": "object"}, text, every=True)).decode()


class _Answer(NamedTuple):
    """deltas: each is counted as a token. stopped: the stop sequence that ended it."""

    deltas: list[dict[str, Any]]
    finish: str = "stop"
    stopped: str | None = None


def _answer(asked: dict[str, Any]) -> _Answer:
    model, text, thought = asked["model"], _structured(asked, _last_user_text(asked)), ""
    if model == "think":
        thought = "The caller sent a message. I will repeat it."
    elif model == "tool":
        tool, result = _tool(asked), _result(asked)
        if result is None and tool is not None:
            return _Answer(_call(tool), _OLD if tool["type"] == _OLD else "tool_calls")
        text = "I was given no tool to call." if result is None else f"The tool said: {_text(result.get('content'))}"
    until_stop, stopped = _until_stop(text, asked.get("stop"))
    deltas = _words(thought, "reasoning_content") + _words(until_stop)
    if model == "error":
        deltas = deltas[: max(1, len(deltas) // 2)]
    most = min((limit for name in _LIMITS if type(limit := asked.get(name)) is int and limit > 0), default=len(deltas))
    return _Answer(deltas[:most], "length") if most < len(deltas) else _Answer(deltas, stopped=stopped)


def _words(text: str, key: str = "content") -> list[dict[str, Any]]:
    return [{key: word} for word in _WORD.findall(text)]


def _until_stop(text: str, stop: Any) -> tuple[str, str | None]:
    """The text before the first of the stop sequences, and which that is."""
    wanted = [one for one in (stop if isinstance(stop, list) else [stop]) if isinstance(one, str) and one in text]
    first = min(wanted, key=text.index, default=None)
    return (text, None) if first is None else (text[: text.index(first)], first)


def _choices(asked: dict[str, Any]) -> int:
    """How many answers are asked for."""
    count = asked.get("n")
    return count if type(count) is int and count > 0 else 1


def _usage(asked: dict[str, Any], answer: _Answer) -> dict[str, int]:
    read = sum(len(_text(m.get("content")).split()) for m in dicts_of(asked, "messages"))
    written = len(answer.deltas) * _choices(asked)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


async def _frames(asked: dict[str, Any]) -> AsyncIterator[bytes]:
    answer, numbers = _answer(asked), range(_choices(asked))
    asked["id"] = f"chatcmpl-{nonce(12)}"
    for number in numbers:
        yield _chunk(asked, number, {"role": "assistant", "content": ""})
    for delta in answer.deltas:
        if asked["model"] == "slow":
            await asyncio.sleep(SLOW)
        for number in numbers:
            yield _chunk(asked, number, delta)
    if asked["model"] == "error":
        error = {"message": "demo/error fails on purpose.", "type": "server_error", "param": None, "code": "demo_error"}
        yield sse.data_frame(orjson.dumps({"error": error}))
        return
    for number in numbers:
        yield _chunk(asked, number, {}, answer)
    options = asked.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        yield sse.data_frame(orjson.dumps(_envelope(asked, "chat.completion.chunk") | {"choices": [], "usage": _usage(asked, answer)}))
    yield sse.DONE


def _envelope(asked: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": asked.get("id") or f"chatcmpl-{nonce(12)}", "object": kind, "created": int(time()), "model": f"demo/{asked['model']}"}


def _chunk(asked: dict[str, Any], number: int, delta: dict[str, Any], ended: _Answer | None = None) -> bytes:
    choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": None} | ({} if ended is None else _end(ended))
    return sse.data_frame(orjson.dumps(_envelope(asked, "chat.completion.chunk") | {"choices": [choice]}))


def _end(answer: _Answer) -> dict[str, Any]:
    """How a choice ended; the stop sequence is told as vLLM tells it."""
    return {"finish_reason": answer.finish} | ({} if answer.stopped is None else {"stop_reason": answer.stopped})


def _whole(asked: dict[str, Any], answer: _Answer) -> dict[str, Any]:
    deltas = answer.deltas
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(d.get("content", "") for d in deltas) or None,
        "refusal": None,
    }
    reasoning = "".join(d.get("reasoning_content", "") for d in deltas)
    if reasoning:
        message["reasoning_content"] = reasoning
    if answer.finish == _OLD:
        message[_OLD] = deltas[0][_OLD] | deltas[1][_OLD]
    elif answer.finish == "tool_calls":
        begun, rest = (delta["tool_calls"][0] for delta in deltas)
        kind = begun["type"]
        message["tool_calls"] = [{"id": begun["id"], "type": kind, kind: begun[kind] | rest[kind]}]
    choices = [{"index": number, "message": message, "logprobs": None} | _end(answer) for number in range(_choices(asked))]
    return _envelope(asked, "chat.completion") | {"choices": choices, "usage": _usage(asked, answer)}

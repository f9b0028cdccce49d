"""What single models and APIs behind clouds do not take or tell, over real sockets: files, sizes, ids, tools that must be there."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest

from dragoman import conf
from dragoman.proxy.routing.router import Router

from ..scripted import Provider, Request, Steps, respond
from .aws import Bedrock, event
from .bedrock import Answers as Invoked
from .bedrock import ask, asked
from .bedrock import config as invoked
from .inside import Inside, inside_once
from .test_converse import START, Answers, config, delta, ends, stop, whole
from .wire import request

JSON = dict[str, Any]
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def _openai(gateway: Inside) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="k", base_url=f"http://127.0.0.1:{gateway.port}/v1", max_retries=0)


# ---- Converse: a history with calls, and no tools ----

HISTORY: list[Any] = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "seen"},
    {"role": "user", "content": "and?"},
]


def _calls(name: str, text: str) -> Answers:
    """Says a text, if there is one, and calls a tool."""
    said = (delta(0, text=text), stop(0)) if text else ()
    call = event("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t1", "name": name}}})
    content = [{"text": text}] if text else []
    content.append({"toolUse": {"toolUseId": "t1", "name": name, "input": {}}})
    frames = (START, *said, call, delta(1, toolUse={"input": "{}"}), stop(1), *ends("tool_use"))
    return Answers(*frames, body=whole(*content, reason="tool_use"))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("text", ["", "Hi"], ids=["alone", "after text"])
@pytest.mark.parametrize(("name", "reason", "calls"), [("unused", "length", 0), ("look", "tool_calls", 1)])
@inside_once
async def test_a_tool_that_stands_for_none(name: str, reason: str, calls: int, text: str, stream: bool) -> None:
    answers = _calls(name, text)
    async with Bedrock(answers) as up, Inside(config(), up) as gateway, _openai(gateway) as client:
        if stream:
            chunks = [chunk.choices[0] async for chunk in await client.chat.completions.create(model="c", messages=HISTORY, stream=True)]
            said = "".join(one.delta.content or "" for one in chunks)
            found = (chunks[-1].finish_reason, said, len({call.index for one in chunks for call in one.delta.tool_calls or ()}))
        else:
            raw = await client.chat.completions.with_raw_response.create(model="c", messages=HISTORY)
            assert raw.headers["x-dragoman-adapted"] == "tools"
            assert ("x-dragoman-response-dropped" in raw.headers) == (name == "unused")
            choice = raw.parse().choices[0]
            found = (choice.finish_reason, choice.message.content or "", len(choice.message.tool_calls or ()))
        (line,) = gateway.lines
    (tool,) = answers.seen[0].json["toolConfig"]["tools"]
    assert (tool["toolSpec"]["name"], "toolChoice" in answers.seen[0].json["toolConfig"]) == ("unused", False)
    assert found == (reason, text, calls)
    assert ("response_dropped" in line) == (name == "unused")


@inside_once
async def test_claude_is_told_to_call_none() -> None:
    answers = Answers()
    async with Bedrock(answers) as up, Inside(config(CLAUDE, ", apis: [converse]"), up) as gateway:
        status, headers, _ = await ask(gateway, "chat", {"model": "c", "messages": HISTORY})
    assert (status, headers["x-dragoman-adapted"]) == (200, "tools")
    assert answers.seen[0].json["additionalModelRequestFields"]["tool_choice"] == {"type": "none"}


# ---- ids ----


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@inside_once
async def test_converse_names_its_answer_in_a_header(stream: bool) -> None:
    async with Bedrock(Answers()) as up, Inside(config(), up) as gateway:
        _, _, answer = await ask(gateway, "chat", asked("chat", stream=stream))
    assert b'"id":"chatcmpl-req-1"' in answer


def _numbered(request: Request) -> Steps:
    """Calls with the ids of each answer's own, as OpenAI's models at the mantle number them."""
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_0", "name": "look", "arguments": "{}", "status": "completed"}
    number = len(request.json["input"])
    return [respond({"id": f"resp_{number}", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": [call]})]


@pytest.mark.parametrize("entry", ["bedrock_mantle/openai.gpt-5.5", "bedrock/openai.gpt-5.5"])
@inside_once
async def test_calls_that_begin_anew_in_each_answer_are_told_apart(entry: str) -> None:
    text = f'model_providers: [{{model: "{entry}", name: c, base_url: "UPSTREAM", access_key: sk-key, aws: {{region: us-east-1}}}}]'
    seen = []
    with Provider(_numbered) as up:
        async with Inside(text, up) as gateway, _openai(gateway) as client:
            messages: list[Any] = [{"role": "user", "content": "q"}]
            for _ in range(2):
                found = (await client.chat.completions.create(model="c", messages=messages)).choices[0].message
                assert found.tool_calls is not None
                seen += [call.id for call in found.tool_calls]
                messages += [found.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": seen[-1], "content": "seen"}]
        last = [item["call_id"] for item in up.requests[1].json["input"] if "call_id" in item]
    assert len(set(seen)) == 2
    assert last == [seen[0], seen[0]]


@pytest.mark.parametrize(
    ("entry", "stateful", "domain"),
    [
        ("bedrock_mantle/openai.gpt-5.5", False, "bedrock_mantle"),
        ("bedrock/openai.gpt-5.5", False, "bedrock_mantle"),
        ("bedrock/us.openai.gpt-5.5", False, "bedrock_mantle"),
        ("bedrock/prod, base_model: openai.gpt-5.5", False, "bedrock_mantle"),
        ("bedrock/openai.gpt-5.6-luna", False, "bedrock"),
    ],
)
def test_what_is_known_of_openais_models(entry: str, stateful: bool, domain: str) -> None:
    text = f"model_providers: [{{model: {entry}, access_key: sk-key, aws: {{region: us-east-1}}}}]"
    router = Router(conf.loads(text, environ={}))
    (found,) = router.candidates("responses", entry.partition(",")[0]).candidates
    can = found.capabilities
    assert (found.speaks.api, can.r_stateful, can.reasoning_domain) == ("responses", stateful, domain)
    assert ("mantle" in found.url) == (domain == "bedrock_mantle") == can.r_numbered_calls
    assert not {"responses"} & set(can.unserved)
    assert can.r_tools == (() if domain == "bedrock_mantle" else ("function", "custom", "namespace"))


# ---- what is not taken ----


@inside_once
async def test_the_most_that_invoke_model_takes() -> None:
    answers = Invoked()
    body = {"model": "c", "max_tokens": 3, "messages": [{"role": "user", "content": "x" * 25_000_000}]}
    async with Bedrock(answers) as up, Inside(invoked() + "limits: {max_body: 32MiB}\n", up) as gateway:
        found, _, answer = await ask(gateway, "messages", body)
    assert (found, orjson.loads(answer)["error"]["type"], answers.seen) == (413, "request_too_large", [])


@pytest.mark.parametrize(
    "model", ["amazon.titan-embed-text-v2:0", "us.cohere.embed-v4:0", "cohere.rerank-v3-5:0", "amazon.nova-canvas-v1:0"]
)
@inside_once
async def test_models_that_answer_no_conversation(model: str) -> None:
    with Bedrock(Answers()) as up:
        async with Inside(config(model), up) as gateway:
            status, _, answer = await ask(gateway, "chat", asked("chat"))
            assert (status, b"answers no conversation" in answer) == (404, True)
            for path in ("embeddings", "rerank"):
                async with gateway.call(request(f"/v1/{path}", {"model": "c", "input": "x"})) as caller:
                    assert (await caller.head())[0] == 404
        assert not up.requests


@inside_once
async def test_vectors_of_bedrock_s_openai_compatible_api_are_carried() -> None:
    text = 'model_providers: [{model: "bedrock/amazon.titan-embed-text-v2:0", name: c, base_url: "UPSTREAM/openai/v1", access_key: sk-key}]'
    with Provider(lambda _: [respond({"object": "list", "data": []})]) as up:
        async with Inside(text, up) as gateway, gateway.call(request("/v1/embeddings", {"model": "c", "input": "x"})) as caller:
            assert (await caller.head())[0] == 200
        assert up.requests[0].target == "/openai/v1/embeddings"


PDF = "data:application/pdf;base64,JVBERg=="
FILES: dict[str, JSON] = {
    "chat": {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
    "messages": {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}},
}
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": []}
RESPONSE["output"] = [
    {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Hi"}]}
]


@pytest.mark.parametrize("base", ["gpt-5.5", "gpt-4.1", "mistral-large-3"])
@pytest.mark.parametrize("shape", FILES)
@inside_once
async def test_azure_takes_files_over_responses_alone(shape: str, base: str) -> None:
    text = 'model_providers: [{model: azure_openai/prod, name: c, base_url: "UPSTREAM", access_key: sk-azure-key, base_model: BASE}]'
    body = asked(shape) | {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}, FILES[shape]]}]}
    with Provider(lambda _: [respond(RESPONSE)]) as up:
        async with Inside(text.replace("BASE", base), up) as gateway:
            status, _, answer = await ask(gateway, shape, body)
        async with Inside(text.replace("BASE", f"{base}, apis: [chat_completions]"), up) as gateway:
            refused, _, told = await ask(gateway, shape, body)
    assert (status, b"Hi" in answer, refused) == (200, True, 400)
    assert b"messages[0].content[1]" in told
    assert [(one.target, b"input_file" in one.body) for one in up.requests] == [("/openai/v1/responses", True)]

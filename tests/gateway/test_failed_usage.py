"""What is charged for an answer with status 200 that failed: what its upstream counted, where it says so with the failure."""

from __future__ import annotations

import orjson
import pytest

from dragoman.codecs.gemini.shape import SHAPE as GOOGLE
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request as Asked

from ..scripted import LAST_CHUNK, Provider, Request, Step, chunk, close, respond, sse, stream_head, until_closed
from .inside import CONFIG, Inside, inside_once
from .spoken import SHAPES, SPEECH

ENTRIES = CONFIG + '\n  - {model: "gemini/*", base_url: "UPSTREAM/v1beta", access_key: sk-upstream, apis: [gemini]}'

ERROR = {"message": "The model crashed.", "type": "server_error", "param": None, "code": None}
OF_GOOGLE = {"error": {"code": 500, "message": "The model crashed.", "status": "INTERNAL"}}
CHAT = {"usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}}
MESSAGES = {"usage": {"input_tokens": 12, "output_tokens": 7}}
RESPONSES = {"usage": {"input_tokens": 12, "output_tokens": 7, "total_tokens": 19}}
GEMINI = {"usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 7, "totalTokenCount": 19}}

FAILED = {"id": "resp_1", "object": "response", "created_at": 1, "status": "failed", "model": "m", "error": ERROR, "output": []} | RESPONSES
ARGUMENTS = orjson.dumps({"text": "Hello " * 900}).decode()
CALLED = [
    sse({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0} | call]}, "finish_reason": None}]})
    for call in ({"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}, {"function": {"arguments": ARGUMENTS}})
]
BROKEN_CALL = {"id": "c", "type": "function", "function": {"name": "", "arguments": "{}"}}

WHOLE: dict[str, tuple[str, object]] = {
    "chat": ("chat", {"error": ERROR} | CHAT),
    "chat, in the choice": ("chat", SPEECH["chat"].whole | {"choices": [{"index": 0, "error": ERROR, "finish_reason": "error"}]} | CHAT),
    "chat, no answer": ("chat", {"id": "c", "object": "chat.completion"} | CHAT),
    "messages": ("messages", {"type": "error", "error": {"type": "api_error", "message": "The model crashed."}} | MESSAGES),
    "responses": ("responses", {"error": ERROR} | RESPONSES),
    "responses, failed": ("responses", FAILED),
    "responses, cancelled": ("responses", FAILED | {"status": "cancelled", "error": None}),
    "gemini": ("gemini", OF_GOOGLE | GEMINI),
}
TOLD = {"type": "error", "error": {"type": "api_error", "message": "The model crashed."}}
STREAMED: dict[str, tuple[str, bytes]] = {
    "chat": ("chat", sse({"error": ERROR} | CHAT)),
    "chat, in the choice": ("chat", sse({"id": "c", "choices": [{"index": 0, "delta": {}, "error": ERROR}]} | CHAT)),
    "messages": ("messages", sse(TOLD | MESSAGES, "error")),
    "responses": ("responses", sse({"type": "response.failed", "sequence_number": 9, "response": FAILED}, "response.failed")),
    "gemini": ("gemini", sse(OF_GOOGLE | GEMINI)),
}
GOOGLES_WORDS = [sse({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "Hello " * 900}]}}]})]


def streamed(upstream: str, last: bytes) -> list[Step]:
    words = GOOGLES_WORDS if upstream == "gemini" else [*SPEECH[upstream].opening, SPEECH[upstream].word("Hello " * 900)]
    return [stream_head(), *map(chunk, words), chunk(last), LAST_CHUNK]


async def tokens(upstream: str, caller: str, steps: list[Step], stream: bool) -> tuple[int, int]:
    """What is charged, input and output."""

    def script(request: Request) -> list[Step]:
        return steps

    with Provider(script) as provider:
        async with Inside(ENTRIES, provider) as gateway, gateway.ask(caller, f"{upstream}/m", stream=stream) as asked:
            await asked.reader.read(1)
            await gateway.until(lambda: gateway.lines)
            (line,) = gateway.lines
            return line["tokens"]["input"], line["tokens"]["output"]


@pytest.mark.parametrize("caller", SHAPES)
@pytest.mark.parametrize("name", WHOLE)
@inside_once
async def test_a_whole_answer_that_failed(name: str, caller: str) -> None:
    upstream, body = WHOLE[name]
    assert await tokens(upstream, caller, [respond(body)], False) == (12, 7)


@pytest.mark.parametrize("caller", SHAPES)
@pytest.mark.parametrize("name", STREAMED)
@inside_once
async def test_a_stream_that_failed(name: str, caller: str) -> None:
    upstream, last = STREAMED[name]
    assert await tokens(upstream, caller, streamed(upstream, last), True) == (12, 7)


def googles(usage: object) -> bytes:
    return sse({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "Hello " * 900}]}}], "usageMetadata": usage})


COUNTED_BEFORE = {  # the last that came has a count of all of the answer up to it
    "messages": [
        *SPEECH["messages"].opening,
        SPEECH["messages"].word("Hello " * 900),
        sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}} | MESSAGES, "message_delta"),
    ],
    "gemini": [googles({"promptTokenCount": 12, "candidatesTokenCount": count}) for count in (5, 6, 7)],
    "chat": [
        *SPEECH["chat"].opening,
        SPEECH["chat"].word("Hello " * 900),
        SPEECH["chat"].ending[0],
        sse({"id": "c", "choices": []} | CHAT),
    ],
}
BROKEN = {
    "an error": [chunk(sse(TOLD, "error")), LAST_CHUNK],
    "no JSON": [chunk(b"data: {]\n\n"), LAST_CHUNK],
    "cut": [close],
}
OF_GEMINI = {"an error": [chunk(sse(OF_GOOGLE)), LAST_CHUNK]}


@pytest.mark.parametrize("caller", SHAPES)
@pytest.mark.parametrize("upstream", COUNTED_BEFORE)
@pytest.mark.parametrize("name", BROKEN)
@inside_once
async def test_a_stream_that_failed_behind_its_count(name: str, upstream: str, caller: str) -> None:
    ending = OF_GEMINI.get(name, BROKEN[name]) if upstream == "gemini" else BROKEN[name]
    steps = [stream_head(), *map(chunk, COUNTED_BEFORE[upstream]), *ending]
    assert await tokens(upstream, caller, steps, True) == (12, 7)


@pytest.mark.parametrize("caller", SHAPES)
@pytest.mark.parametrize("upstream", COUNTED_BEFORE)
@inside_once
async def test_a_caller_who_leaves_behind_the_count(upstream: str, caller: str) -> None:
    events = COUNTED_BEFORE[upstream]

    def script(request: Request) -> list[Step]:
        return [stream_head(), *map(chunk, events), until_closed]

    with Provider(script) as provider:
        async with Inside(ENTRIES, provider) as gateway, gateway.ask(caller, f"{upstream}/m", stream=True) as asked:
            await asked.head()
            await asked.until(b"Hello")
            (exchange,) = gateway.gateway.exchanges
            lane = exchange.attempts[0].lane
            assert lane is not None
            await gateway.until(lambda: lane.events == len(events))
            asked.leave()
            await gateway.until(lambda: gateway.lines)
            (line,) = gateway.lines
    assert (line["tokens"]["input"], line["tokens"]["output"]) == (12, 7)


SAID_MORE = {  # behind the count, which is then only the least
    "chat": [sse({"id": "c", "choices": []} | CHAT), *[SPEECH["chat"].word("Hello " * 300)] * 3],
    "chat, a call": [sse({"id": "c", "choices": [], "usage": CHAT["usage"]}), *CALLED],
    "gemini": [googles({"promptTokenCount": 12, "candidatesTokenCount": 7}), *[googles({"promptTokenCount": 12})] * 3],
}
TOO_LITTLE = {  # the count that comes with the failure is of the prompt alone
    "chat": sse({"error": ERROR, "usage": {"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 12}}),
    "messages": sse(TOLD | {"usage": {"input_tokens": 12}}, "error"),
    "responses": sse({"type": "response.failed", "response": FAILED | {"usage": {"input_tokens": 12}}}, "response.failed"),
    "gemini": sse(OF_GOOGLE | {"usageMetadata": {"promptTokenCount": 12, "totalTokenCount": 12}}),
}


@pytest.mark.parametrize("caller", SHAPES)
@pytest.mark.parametrize("name", SAID_MORE)
@inside_once
async def test_a_count_that_more_follows(name: str, caller: str) -> None:
    upstream = name.partition(",")[0]
    opening = [] if upstream == "gemini" else [*SPEECH[upstream].opening, SPEECH[upstream].word("Hello")]
    used = await tokens(upstream, caller, [stream_head(), *map(chunk, [*opening, *SAID_MORE[name]]), close], True)
    assert used[0] == 12
    assert used[1] > 900


@pytest.mark.parametrize("caller", SHAPES)
@pytest.mark.parametrize("upstream", TOO_LITTLE)
@inside_once
async def test_a_count_of_the_prompt_alone(upstream: str, caller: str) -> None:
    """What was written before the failure is not free: its own API omits the count that is 0, and others say 0."""
    used = await tokens(upstream, caller, streamed(upstream, TOO_LITTLE[upstream]), True)
    assert used[0] == 12
    assert used[1] > 900


@inside_once
async def test_googles_count_stays_behind_a_lesser_one() -> None:
    steps = [stream_head(), *map(chunk, [*COUNTED_BEFORE["gemini"], TOO_LITTLE["gemini"]]), LAST_CHUNK]
    assert await tokens("gemini", "chat", steps, True) == (12, 7)


@pytest.mark.parametrize(
    ("usage", "counted"), [({"promptTokenCount": 12, "candidatesTokenCount": 7}, True), ({"promptTokenCount": 12}, False), (None, False)]
)
def test_a_count_of_googles_for_its_own_callers(usage: object, counted: bool) -> None:
    """Pieces that are like the last are not parsed until somebody asks."""
    observer = GOOGLE.Observer(Reply(Asked("gemini", "m", {}, True)))
    for piece in (googles(GEMINI["usageMetadata"]), googles(GEMINI["usageMetadata"]), googles(usage)):
        observer.feed(("", piece.removeprefix(b"data: ").rstrip()))
    assert observer.counted is counted
    observer.feed(("", orjson.dumps(OF_GOOGLE)))
    assert (observer.error is not None, observer.counted) == (True, counted)


@pytest.mark.parametrize("stream", [False, True])
@inside_once
async def test_an_answer_that_this_gateway_cannot_carry(stream: bool) -> None:
    """A call without a name: the upstream has counted what it wrote all the same."""
    message = {"role": "assistant", "content": None, "tool_calls": [BROKEN_CALL | {"index": 0}]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = SPEECH["chat"].whole | {"choices": [choice]} | CHAT
    last = sse({"id": "c", "choices": [{"index": 0, "delta": message, "finish_reason": "tool_calls"}]} | CHAT) + sse("[DONE]")
    steps = streamed("chat", last) if stream else [respond(body)]
    assert await tokens("chat", "messages", steps, stream) == (12, 7)


@pytest.mark.parametrize("caller", SHAPES)
@inside_once
async def test_a_count_from_before_the_failure_is_only_the_least(caller: str) -> None:
    """A stream of the Messages API begins with a count, and tells the rest at its end: which did not come."""
    upstream = "messages"
    used = await tokens(upstream, caller, streamed(upstream, sse(TOLD, "error")), True)
    begun = orjson.loads(SPEECH[upstream].opening[0].partition(b"data: ")[2])["message"]["usage"]
    assert used[0] >= begun["input_tokens"]
    assert used[1] > 900 > begun["output_tokens"]

"""A long answer of a gemini upstream, which comes in several, each asked for with the token of the one before (`g.continuation`)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..scripted import Provider, Request, Steps, close, respond
from .inside import Inside, inside_once
from .test_gemini_upstream import CONFIG, SHAPES, answer_of, answering, ask, asking, generated

JSON = dict[str, Any]

FOLLOWED = CONFIG.replace(
    '"UPSTREAM/v1beta", access_key: sk-up}', '"UPSTREAM/v1beta", access_key: sk-up, capabilities: {g.continuation: FLAG}}'
)
MOST = 16


def counted(prompt: int, said: int) -> JSON:
    return {"usageMetadata": {"promptTokenCount": prompt, "candidatesTokenCount": said, "totalTokenCount": prompt + said}}


def part(text: str, token: str = "", finish: str = "STOP", prompt: int = 10, said: int = 5) -> JSON:
    """An answer that ends, or goes on with a token."""
    found = generated({"text": text}, finish="CONTINUATION" if token else finish, **counted(prompt, said))
    if token:
        found["candidates"][0]["continuationToken"] = token
    return found


class Google:
    """Answers in turn, a request after the last one not at all. tokens: those that it was asked with."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[JSON] = []

    def __call__(self, request: Request) -> Steps:
        if request.method != "POST":
            return [respond({}, 404)]
        self.asked.append(request.json)
        answer = self._answers.pop(0)
        return answer(request) if callable(answer) else answer

    @property
    def tokens(self) -> list[Any]:
        return [body.get("continuationToken") for body in self.asked]


async def played(
    shape: str, stream: bool, *answers: Any, flag: str = "true", question: str = "hi", **more: Any
) -> tuple[int, bytes, Google]:
    google = Google(*answers)
    with Provider(google) as provider:
        async with Inside(FOLLOWED.replace("FLAG", flag), provider) as gateway:
            if shape == "chat" and stream:
                more["stream_options"] = {"include_usage": True}
            status, _, told = await ask(gateway, shape, asking(shape, [{"role": "user", "content": question}], stream, **more))
        assert not provider.failures
    return status, told, google


def told_of(shape: str, told: bytes, stream: bool) -> tuple[str, str, tuple[int, int]]:
    """The text, why it ended, and the tokens of the prompt and of the answer."""
    found = answer_of(shape, told, stream)
    usage = found["usage"]
    if shape == "chat":
        choice = found["choices"][0]
        return choice["message"]["content"], choice["finish_reason"], (usage["prompt_tokens"], usage["completion_tokens"])
    texts = [block["text"] for block in found["content"] if block["type"] == "text"] if shape == "messages" else [
        piece["text"] for item in found["output"] if item["type"] == "message" for piece in item["content"]
    ]  # fmt: skip
    ended = found["stop_reason"] if shape == "messages" else found["status"]
    return "|".join(texts), ended, (usage["input_tokens"], usage["output_tokens"])


DONE = {"chat": "stop", "messages": "end_turn", "responses": "completed"}
LIMITED = {"chat": "length", "messages": "max_tokens", "responses": "incomplete"}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_it_is_one_answer(shape: str, stream: bool) -> None:
    """One text without a seam, one end, the usage of all; and each request is the first one with the last answer's token."""
    status, told, google = await played(
        shape, stream, answering(part("One, ", "t1")), answering(part("two, ", "t2", prompt=20)), answering(part("three.", prompt=30))
    )
    assert (status, told_of(shape, told, stream)) == (200, ("One, two, three.", DONE[shape], (60, 15)))
    assert google.tokens == [None, "t1", "t2"]
    first = google.asked[0]
    assert [{key: body[key] for key in body if key != "continuationToken"} for body in google.asked] == [first] * 3


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@inside_once
async def test_without_the_flag_it_reached_its_limit(stream: bool) -> None:
    status, told, google = await played("chat", stream, answering(part("One, ", "t1")), flag="false")
    assert (status, told_of("chat", told, stream)) == (200, ("One, ", "length", (10, 5)))
    assert google.tokens == [None]


@pytest.mark.parametrize("finish", ["MAX_TOKENS", "SAFETY"])
@inside_once
async def test_any_other_reason_is_the_end(finish: str) -> None:
    _, told, google = await played("chat", True, answering(part("One, ", "t1")), answering(part("two", finish=finish)))
    assert told_of("chat", told, True)[:2] == ("One, two", {"MAX_TOKENS": "length", "SAFETY": "content_filter"}[finish])
    assert len(google.asked) == 2


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@inside_once
async def test_it_is_asked_for_sixteen_times(stream: bool) -> None:
    _, told, google = await played("chat", stream, *(answering(part(f"{n} ", f"t{n}")) for n in range(MOST + 2)))
    assert told_of("chat", told, stream)[:2] == ("".join(f"{n} " for n in range(MOST + 1)), "length")
    assert google.tokens == [None, *(f"t{n}" for n in range(MOST))]


@inside_once
async def test_together_they_are_one_answer() -> None:
    """As large as an answer may be."""
    google = Google(answering(part("One, ", "t1")), answering(part("two, ", "t2")), answering(part("x" * 1600)))
    async with Provider(google) as provider, Inside(FOLLOWED.replace("FLAG", "true") + "\nlimits: {max_event: 2200}", provider) as gateway:
        status, _, told = await ask(gateway, "chat", asking("chat", [{"role": "user", "content": "hi"}], False))
    assert (status, told_of("chat", told, False)[:2]) == (200, ("One, two, ", "length"))


REFUSED = [respond({"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}, 429)]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("second", [REFUSED, [close]], ids=["refused", "closed"])
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_what_cannot_be_had_leaves_a_limited_answer(shape: str, second: Steps, stream: bool) -> None:
    """Never one that looks complete."""
    status, told, _ = await played(shape, stream, answering(part("One, ", "t1")), second)
    assert (status, told_of(shape, told, stream)) == (200, ("One, ", LIMITED[shape], (10, 5)))


@inside_once
async def test_one_that_breaks_off_is_a_failure() -> None:
    broken = answering(generated({"text": "two"}), end=b"")
    status, told, _ = await played("chat", True, answering(part("One, ", "t1")), broken)
    assert status == 200
    assert b'"One, "' in told
    assert b'"two"' in told
    assert b'"error"' in told
    assert b'finish_reason":"' not in told


@inside_once
async def test_a_call_in_the_next_answer() -> None:
    call = {"functionCall": {"id": "a1", "name": "f", "args": {"x": 1}}, "thoughtSignature": "AAAA"}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}}]
    _, told, _ = await played(
        "chat", True, answering(part("One", "t1")), answering(generated(call, finish="STOP", **counted(1, 1))), tools=tools
    )
    found = answer_of("chat", told, True)["choices"][0]
    assert found["finish_reason"] == "tool_calls"
    assert json.loads(found["message"]["tool_calls"][0]["function"]["arguments"]) == {"x": 1}
    assert found["message"]["content"] == "One"


@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_a_large_request_is_repeated_whole_although_its_answer_has_begun(shape: str) -> None:
    """What is large of a request is let go of with the first content of its answer."""
    status, told, google = await played(shape, True, answering(part("One, ", "t1")), answering(part("two.")), question="word " * 8000)
    assert (status, told_of(shape, told, True)[:2]) == (200, ("One, two.", DONE[shape]))
    assert google.asked[1] == google.asked[0] | {"continuationToken": "t1"}

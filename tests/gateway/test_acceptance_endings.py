"""Streams that break, begin with an error, or come in the oddest frames that are allowed (acceptance T15, T18–T21)."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from ..codecs import grammar
from ..scripted import LAST_CHUNK, Gate, Step, chunk, close, send, sse, stream, stream_head, wait
from .stage import PAIRS, TRANSLATED, Stage
from .upstreams import event, text_answer

MESSAGES: Any = [{"role": "user", "content": "Hi"}]


def opening(shape: str) -> list[bytes]:
    """A stream that has begun with "Hello" and not ended."""
    return text_answer(shape, "Hello", "?").events[: {"chat": 2, "messages": 3, "responses": 5}[shape]]


def broken_off(shape: str) -> list[Step]:
    return [stream_head(), *map(chunk, opening(shape)), close]


def listen(told: Any, seen: list[Any]) -> None:
    """Gather what comes, for as long as it comes."""
    for one in told:
        seen.append(one)


def chat_text(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for one in chunks for choice in one.choices)


# ---- T15: the connection closes ----


@pytest.mark.parametrize("upstream", ["chat", "messages", "responses"])
def test_T15_chat_learns_that_the_stream_broke(stage: Stage, upstream: str) -> None:
    stage.play(broken_off(upstream))
    seen: list[Any] = []
    told = stage.oai.chat.completions.create(model=f"{upstream}/m", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError) as caught:
        listen(told, seen)
    assert not isinstance(caught.value, openai.APIConnectionError)
    assert (chat_text(seen), caught.value.code, caught.value.type) == ("Hello", "upstream_stream_interrupted", "server_error")
    raw = stage.raw("chat", upstream)
    assert b"[DONE]" not in raw
    assert b'"finish_reason":"' not in raw
    assert grammar.chat(raw) == "error"


@pytest.mark.parametrize("upstream", ["chat", "messages", "responses"])
def test_T15_messages_learns_that_the_stream_broke(stage: Stage, upstream: str) -> None:
    stage.play(broken_off(upstream))
    seen: list[str] = []
    with (
        stage.ant.messages.stream(model=f"{upstream}/m", max_tokens=10, messages=MESSAGES) as told,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        listen(told.text_stream, seen)
    body: Any = caught.value.body
    assert ("".join(seen), body["error"]["type"]) == ("Hello", "api_error")
    raw = stage.raw("messages", upstream)
    assert b"message_stop" not in raw
    assert b"message_delta" not in raw
    assert grammar.messages(raw) == "error"


@pytest.mark.parametrize("upstream", ["chat", "messages", "responses"])
def test_T15_responses_learns_that_the_stream_broke(stage: Stage, upstream: str) -> None:
    stage.play(broken_off(upstream))
    seen: list[Any] = []
    told = stage.oai.responses.create(model=f"{upstream}/m", input="Hi", stream=True)
    with pytest.raises(openai.APIError) as caught:
        listen(told, seen)
    assert not isinstance(caught.value, openai.APIConnectionError)
    assert "".join(one.delta for one in seen if one.type == "response.output_text.delta") == "Hello"
    assert caught.value.code == "upstream_stream_interrupted"
    assert seen[-1].type == "response.failed"
    assert (seen[-1].response.status, seen[-1].response.error.code) == ("failed", "server_error")
    assert seen[-1].response.id == seen[0].response.id
    assert grammar.responses(stage.raw("responses", upstream)) == "error"


# ---- T18, T19: errors in the upstream's own words ----


def test_T18_an_error_in_the_middle(stage: Stage) -> None:
    gate = Gate()  # so that the text is with the client when the error comes
    overloaded = event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    stage.play([stream_head(), *map(chunk, opening("messages")), wait(gate), chunk(overloaded), LAST_CHUNK])
    seen: list[Any] = []
    told = stage.oai.chat.completions.create(model="messages/m", messages=MESSAGES, stream=True)
    while chat_text(seen) != "Hello":
        seen.append(next(told))
    gate.open()
    with pytest.raises(openai.APIError) as caught:
        listen(told, seen)
    assert chat_text(seen) == "Hello"
    assert (caught.value.type, caught.value.code, caught.value.message) == ("server_error", "overloaded", "Overloaded")
    assert caught.value.body == {"message": "Overloaded", "type": "server_error", "param": None, "code": "overloaded"}


def test_T19_an_error_instead_of_a_stream(stage: Stage) -> None:
    stage.play(stream(sse({"error": {"message": "rate", "type": "rate_limit_error", "code": 429}})))
    with (
        pytest.raises(anthropic.RateLimitError) as caught,
        stage.ant.messages.stream(model="chat/m", max_tokens=10, messages=MESSAGES) as told,
    ):
        told.get_final_message()
    body: Any = caught.value.body
    assert caught.value.status_code == 429
    assert caught.value.response.headers["content-type"] == "application/json"
    assert body["type"] == "error"
    assert body["error"] == {"type": "rate_limit_error", "message": "rate"}


# ---- T20, T21: bytes as they come ----

TEXT = "\u00e9\U0001f600" * 2


def split_pair(shape: str) -> list[bytes]:
    """The text twice: raw, and escaped with the halves of the pair in two events."""
    answer = text_answer(shape, "\u00e9\U0001f600", "\u00e9HIGH", "LOW")
    return [one.replace(b"HIGH", rb"\ud83d").replace(b"LOW", rb"\ude00").replace(b"\n", b"\r\n") for one in answer.events]


def dribbled(events: list[bytes]) -> list[Step]:
    return [send(b"".join([stream_head(), *map(chunk, events), LAST_CHUNK]), 1)]


def text_of(client: str, raw: bytes) -> str:
    """The text that a stream's events make, whatever their line ends."""
    assert grammar.GRAMMARS[client](raw) == "done"
    text = ""
    for _, value in grammar.events_of(raw):
        if client == "chat":
            text += "".join(choice["delta"].get("content") or "" for choice in value["choices"]) if value != "[DONE]" else ""
        elif client == "messages":
            text += value["delta"]["text"] if value["type"] == "content_block_delta" else ""
        elif value["type"] == "response.output_text.delta":
            text += value["delta"]
    return text


@pytest.mark.parametrize(("client", "upstream"), TRANSLATED)
def test_T20_one_byte_at_a_time_and_halves_of_a_letter(stage: Stage, client: str, upstream: str) -> None:
    stage.play(dribbled(split_pair(upstream)))
    raw = stage.raw(client, upstream)
    assert text_of(client, raw) == TEXT
    assert "\ufffd".encode() not in raw


@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
def test_T20_its_own_shape_gets_the_same_bytes(stage: Stage, shape: str) -> None:
    stage.play(dribbled(split_pair(shape)))
    assert own_bytes(stage, shape) == b"".join(split_pair(shape))


def own_bytes(stage: Stage, shape: str) -> bytes:
    """What a caller of the upstream's own shape gets when it asks for the model by the upstream's name."""
    extra: dict[str, Any] = {"stream_options": {"include_usage": True}} if shape == "chat" else {}
    asked = {"model": f"bare-{shape}", "stream": True, **(extra or {"max_tokens": 10} if shape != "responses" else {})}
    asked |= {"input": "Hi"} if shape == "responses" else {"messages": MESSAGES}
    answer = stage.post(shape, asked)
    assert answer.status_code == 200, answer.text
    return answer.content


BOM = b"\xef\xbb\xbf"
NOISE = b": a comment\n\nretry: 1000\n\nid: 7\n\ndata:\n\nevent: odd\n\n"
ODD_TEXT = "a\u2028b\u0085c"


def odd_frames(shape: str) -> list[bytes]:
    """Legal, all of it: data over several lines, ids, empty data, characters that only some take for line ends."""
    frames = [BOM + NOISE]
    for one in text_answer(shape, "a\u2028b", "\u0085c").events:
        frames.append(b"id: 1\n" + one.replace(b"data: {", b"data: {\ndata: ") + b": still here\n\n")
    return frames


@pytest.mark.parametrize(("client", "upstream"), TRANSLATED)
def test_T21_odd_frames_are_read_and_not_repeated(stage: Stage, client: str, upstream: str) -> None:
    stage.play(stream(*odd_frames(upstream)))
    raw = stage.raw(client, upstream)
    assert text_of(client, raw) == ODD_TEXT
    assert not [line for line in raw.split(b"\n") if line.startswith((b"id:", b"retry:", BOM)) or line in (b"data:", b"data: ")]


@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
def test_T21_odd_frames_stay_in_their_own_shape(stage: Stage, shape: str) -> None:
    stage.play(stream(*odd_frames(shape)))
    assert own_bytes(stage, shape) == b"".join(odd_frames(shape)).removeprefix(BOM)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_T20_the_sdks_read_one_byte_at_a_time(stage: Stage, client: str, upstream: str) -> None:
    """Whole letters, CRLF: what any client must be able to read through the gateway."""
    stage.play(dribbled([one.replace(b"\n", b"\r\n") for one in text_answer(upstream, "\u00e9", "\U0001f600").events]))
    if client == "chat":
        chunks = stage.oai.chat.completions.create(model=f"{upstream}/m", messages=MESSAGES, stream=True)
        text = "".join(choice.delta.content or "" for one in chunks for choice in one.choices)
    elif client == "messages":
        with stage.ant.messages.stream(model=f"{upstream}/m", max_tokens=10, messages=MESSAGES) as told:
            text = told.get_final_text()
    else:
        with stage.oai.responses.stream(model=f"{upstream}/m", input="Hi") as answered:
            text = answered.get_final_response().output_text
    assert text == "\u00e9\U0001f600"

"""Answers to gemini callers: what is written for which events, streamed and whole (acceptance G11, G12, G17, G22 and G30)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.genai import types
from hypothesis import given

from dragoman.codecs import errors
from dragoman.codecs import events as ev
from dragoman.codecs.gemini.errors_out import error_object
from dragoman.codecs.gemini.observer import Observer
from dragoman.codecs.gemini.stream_out import Collector, StreamEncoder
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.usage import Usage, from_messages, to_gemini

from .answers import answers
from .fuzzing import fuzz

JSON = dict[str, Any]
START = ev.Start("msg_1", "m", 1)
STOP = ev.Stop("end")


def reply(shows: bool = False, **more: Any) -> Reply:
    return Reply(Request("gemini", "m", {}, show_thoughts=shows), domain="home", nonce="f" * 32, **more)


def streamed(events: list[ev.Event], at: Reply | None = None) -> list[JSON]:
    """The chunks, fed one event at a time: the same as all at once."""
    encoder, again = StreamEncoder(at or reply()), StreamEncoder(reply(at.request.show_thoughts) if at else reply())
    frames = [frame for event in events for frame in encoder.feed([event])]
    assert frames == again.feed(events)
    assert all(name == b"" and b"\n" not in data for name, data in frames)
    return [json.loads(data) for _, data in frames]


def whole(events: list[ev.Event], at: Reply | None = None) -> JSON:
    collector = Collector(at or reply())
    collector.feed(events)
    assert collector.error is None
    return collector.body()


def parts(chunks: list[JSON]) -> list[JSON]:
    return [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]


def text(part: int, *pieces: str) -> list[ev.Event]:
    return [ev.TextStart(part), *(ev.Text(part, piece) for piece in pieces), ev.PartStop(part)]


def reasoning(part: int, *pieces: str, seal: ev.Seal | None = None) -> list[ev.Event]:
    seals: list[ev.Event] = [] if seal is None else [seal]
    return [ev.ReasoningStart(part), *(ev.Reasoning(part, piece) for piece in pieces), *seals, ev.PartStop(part)]


def tool(part: int, id: str, *pieces: str) -> list[ev.Event]:
    return [ev.ToolStart(part, id, f"f{part}"), *(ev.Arguments(part, piece) for piece in pieces), ev.PartStop(part)]


def inside(signature: str) -> JSON:
    return json.loads(base64.b64decode(signature)[5:])  # type: ignore[no-any-return]


# ---- calls ----


def test_G11_a_later_call_waits_for_an_earlier_one() -> None:
    events: list[ev.Event] = [START, ev.ToolStart(0, "a", "f"), ev.ToolStart(1, "b", "g"), ev.Arguments(1, "{}"), ev.PartStop(1)]
    encoder = StreamEncoder(reply())
    assert encoder.feed(events) == []
    found = encoder.feed([ev.Arguments(0, '{"x":1}'), ev.PartStop(0)])
    assert [json.loads(data)["candidates"][0]["content"]["parts"][0]["functionCall"]["id"] for _, data in found] == ["a", "b"]


@pytest.mark.parametrize(("reason", "kept"), [("length", ["a"]), ("context", ["a"]), ("tool", ["a", "b", "c"])])
def test_G12_calls_without_whole_arguments(reason: str, kept: list[str]) -> None:
    """An empty text may have been cut off before its first character; without a limit it means no arguments."""
    events = [START, *tool(0, "a", '{"x":', "1}"), *tool(1, "b"), *tool(2, "c", '{"x":'), ev.Stop(reason)]
    at = reply()
    assert [part["functionCall"]["id"] for part in parts(streamed(events, at))[:-1]] == kept
    assert at.unsaid.labels == (["tool_call:incomplete"] if reason != "tool" else [])
    assert [part["functionCall"]["id"] for part in whole(events)["candidates"][0]["content"]["parts"]] == kept


def test_a_call_without_arguments_stays_before_what_follows_it() -> None:
    events = [START, *tool(0, "a"), *text(1, "x"), *tool(2, "b"), ev.Stop("length")]
    names = [next(iter(part)) for part in parts(streamed(events))]
    assert names == ["functionCall", "text", "text"]  # the last one may have been cut off
    assert [next(iter(part)) for part in whole(events)["candidates"][0]["content"]["parts"]] == names[:2]


def test_free_text_of_a_tool_that_the_caller_did_not_declare() -> None:
    events = [START, ev.ToolStart(0, "a", "sql", "custom"), ev.Arguments(0, "SELECT 1"), ev.PartStop(0), STOP]
    for found in (parts(streamed(events)), whole(events)["candidates"][0]["content"]["parts"]):
        assert found[0]["functionCall"]["args"] == {"input": "SELECT 1"}


def test_calls_always_have_ids() -> None:
    found = parts(streamed([START, *tool(0, "", "{}"), *tool(1, "", "{}"), STOP]))
    assert len({part["functionCall"]["id"] for part in found[:-1]}) == 2
    assert all(part["functionCall"]["id"].startswith("call_") for part in found[:-1])


# ---- reasoning ----


@pytest.mark.parametrize("shows", [False, True])
def test_thoughts_are_shown_if_asked_for(shows: bool) -> None:
    events = [START, *reasoning(0, "a", "b"), *text(1, "x", "y"), STOP]
    thoughts = [{"text": "a", "thought": True}, {"text": "b", "thought": True}] if shows else []
    found = parts(streamed(events, reply(shows)))
    assert found[:-3] == thoughts
    assert inside(found[-3]["thoughtSignature"]) == {"k": "c", "u": "home", "t": "ab"}
    assert found[-2:] == [{"text": "y"}, {"text": ""}]
    one = whole(events, reply(shows))["candidates"][0]["content"]["parts"]
    assert [part["text"] for part in one] == (["ab", "xy"] if shows else ["xy"])


def test_the_blocks_of_a_run_are_together() -> None:
    events = [
        START,
        *reasoning(0, "a", seal=ev.Seal(0, "anthropic", "S1")),
        *reasoning(1, seal=ev.Seal(1, "redacted", "R")),
        *tool(2, "t", "{}"),
        STOP,
    ]
    (call, _) = parts(streamed(events))
    assert inside(call["thoughtSignature"])["b"] == [
        {"type": "thinking", "thinking": "a", "signature": "S1"},
        {"type": "redacted_thinking", "data": "R"},
    ]


def test_items_that_do_not_fit_in_one_signature() -> None:
    seals = [ev.Seal(n, "openai", f"E{n}", f"rs_{n}", ("s",)) for n in (0, 1)]
    found = parts(streamed([START, *reasoning(0, "s", seal=seals[0]), *reasoning(1, "s", seal=seals[1]), *text(2, "x"), STOP]))
    assert [inside(part["thoughtSignature"])["id"] for part in found if "thoughtSignature" in part] == ["rs_0", "rs_1"]
    assert [part["text"] for part in found] == ["", "x", ""]


def test_reasoning_at_the_end() -> None:
    found = parts(streamed([START, *text(0, "x"), *reasoning(1, "a"), STOP]))
    assert [sorted(part) for part in found] == [["text"], ["text", "thoughtSignature"]]


# ---- the end ----


@pytest.mark.parametrize(
    ("stop", "word", "message"),
    [
        (ev.Stop("end"), "STOP", None),
        (ev.Stop("stop_sequence", "x"), "STOP", None),
        (ev.Stop("pause"), "STOP", None),  # with a text: without one it is the upstream's fault
        (ev.Stop("length"), "MAX_TOKENS", None),
        (ev.Stop("context"), "MAX_TOKENS", None),
        (ev.Stop("filter"), "SAFETY", None),
        (ev.Stop("refusal", explanation="why"), "SAFETY", "why"),
    ],
)
def test_finish_reasons(stop: ev.Stop, word: str, message: str | None) -> None:
    last = streamed([START, stop])[-1]["candidates"][0]
    assert (last["finishReason"], last.get("finishMessage"), last["content"]["parts"]) == (word, message, [{"text": ""}])


def test_a_refusal_is_text_and_safety() -> None:
    body = whole([START, ev.Refusal("I "), ev.Refusal("won't"), STOP])["candidates"][0]
    assert body["content"]["parts"] == [{"text": "I won't"}]
    assert (body["finishReason"], body["finishMessage"]) == ("SAFETY", "I won't")


def test_G17_usage() -> None:
    usage = {
        "input_tokens": 30,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 100,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 20},
    }
    assert to_gemini(from_messages(usage)) == {
        "promptTokenCount": 1130,
        "cachedContentTokenCount": 1000,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 20,
        "totalTokenCount": 1180,
    }
    more = to_gemini(Usage(61, 10, reasoning=96))  # as Vercel's gateway counts
    assert (more["candidatesTokenCount"], more["thoughtsTokenCount"], more["totalTokenCount"]) == (0, 10, 71)
    assert "usageMetadata" not in streamed([START, STOP])[-1]
    assert streamed([START, ev.Metered(Usage(1, 2)), STOP])[-1]["usageMetadata"]["totalTokenCount"] == 3


def test_G30_citations_count_bytes() -> None:
    events = [
        START,
        *text(0, "é"),
        ev.TextStart(1),
        ev.Text(1, "é😀 x"),
        ev.Citation(1, "https://a", "A", 1, 3),
        ev.Citation(1, "https://b", "B"),
        ev.Citation(1, "https://a", "A", 0, 1),
        ev.PartStop(1),
        STOP,
    ]
    for found in (streamed(events)[-1], whole(events)):
        assert found["candidates"][0]["groundingMetadata"] == {
            "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}, {"web": {"uri": "https://b", "title": "B"}}],
            "groundingSupports": [
                {"segment": {"startIndex": 4, "endIndex": 9, "text": "😀 "}, "groundingChunkIndices": [0]},
                {"segment": {"startIndex": 2, "endIndex": 10, "text": "é😀 x"}, "groundingChunkIndices": [1]},
                {"segment": {"startIndex": 2, "endIndex": 4, "text": "é"}, "groundingChunkIndices": [0]},
            ],
        }


def test_log_probabilities() -> None:
    entry = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": [{"token": "y", "logprob": -1.0, "bytes": [121]}]}
    last = streamed([START, ev.TextStart(0), ev.Text(0, "x", [entry]), ev.PartStop(0), STOP])[-1]["candidates"][0]
    assert last["logprobsResult"] == {
        "chosenCandidates": [{"token": "x", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "y", "logProbability": -1.0}]}],
    }


def test_log_probabilities_that_are_none() -> None:
    odd = [{"token": 5, "logprob": "x", "top_logprobs": True}, "x", {"top_logprobs": [1, {"token": "y", "logprob": -1}]}]
    last = streamed([START, ev.TextStart(0), ev.Text(0, "x", odd), ev.PartStop(0), STOP])[-1]
    found = types.GenerateContentResponse.model_validate(last).candidates[0].logprobs_result  # type: ignore[index]
    assert [each.token for each in found.chosen_candidates] == ["", ""]  # type: ignore[union-attr]
    assert last["candidates"][0]["logprobsResult"]["topCandidates"][1] == {"candidates": [{"token": "y", "logProbability": -1}]}


def test_line_ends_of_javascript_are_escaped() -> None:
    encoder = StreamEncoder(reply())
    encoder.feed([START, ev.TextStart(0), ev.Text(0, "a")])
    ((_, data),) = encoder.feed([ev.Text(0, "\u2028")])
    assert b"\\u2028" in data


# ---- G30: whatever the answer ----


def joined(found: list[JSON]) -> list[JSON]:
    """The parts of a stream with adjacent texts of one kind as one, and without the empty one at the end."""
    out: list[JSON] = []
    for part in found:
        last = out[-1] if out else {}
        if "text" in part and "text" in last and part.get("thought") == last.get("thought") and "thoughtSignature" not in part:
            last["text"] += part["text"]
        elif part != {"text": ""}:
            out.append(dict(part))
    return out


@fuzz(60)
@given(answers())
def test_G30_a_stream_says_what_the_whole_says(events: list[ev.Event]) -> None:
    for shows in (False, True):
        chunks, body = streamed(events, reply(shows)), whole(events, reply(shows))
        said = [part for part in body["candidates"][0]["content"]["parts"] if part != {"text": ""}]
        assert joined(parts(chunks)) == joined(said)
        assert chunks[-1].get("usageMetadata") == body.get("usageMetadata")
        assert chunks[-1]["candidates"][0]["finishReason"] == body["candidates"][0]["finishReason"]
        for value in (*chunks, body):
            types.GenerateContentResponse.model_validate(value)  # Google's own SDK


@fuzz(60)
@given(answers())
def test_G30_the_same_answer_is_observed(events: list[ev.Event]) -> None:
    observer = Observer(reply())
    for _, data in StreamEncoder(reply()).feed(events):
        observer.feed((b"", data))
    stop = next(event for event in events if isinstance(event, ev.Stop))
    assert observer.completed(True)
    assert not observer.proof
    assert observer.stop in (stop.reason, "end", "tool", "filter", "length")


# ---- errors ----


def test_G22_a_budget_has_no_date() -> None:
    error = errors.OverQuota("Spent.", kind="billing", status=429, retry_after=60, should_retry=False)
    assert error_object(error) == {
        "error": {
            "code": 429,
            "message": "Spent.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [{"subject": "dragoman", "quotaId": "DragomanBudgetPerDay"}],
                },
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "INSUFFICIENT_QUOTA", "domain": "dragoman"},
            ],
        }
    }


@pytest.mark.parametrize("kind", errors.KINDS)
def test_G22_every_kind_has_a_code_and_a_word(kind: str) -> None:
    error = errors.GatewayError("x", kind=kind, param="contents")
    told = error_object(error)["error"]
    assert type(told["code"]) is int
    assert told["code"] == error.http_status("gemini")
    assert told["status"].isupper()
    assert told["message"] == "x (contents)"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("prompt is too long: 210,000 tokens > 200000 maximum", "(210000) exceeds the maximum number of tokens allowed (200000)."),
        ("maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.", "(9001) exceeds"),
        ("The input token count (7) exceeds the maximum number of tokens allowed (5).", "(7) exceeds"),
        ("Too long.", "Too long."),
        ("1000 and 2000 and 3000", "1000 and 2000 and 3000"),
    ],
)
def test_G22_too_long_in_google_s_words(message: str, told: str) -> None:
    assert told in error_object(errors.Answered(message, kind="context_too_long"))["error"]["message"]


# ---- bytes ----


def chunk(said: str, end: bytes = b"\r\n\r\n", **more: Any) -> bytes:
    value = {
        "candidates": [{"content": {"parts": [{"text": said}], "role": "model"}, "index": 0, **more}],
        "usageMetadata": {"promptTokenCount": 4},
    }
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + end


def observer() -> Any:
    found = SHAPES["gemini"].Observer(reply())
    found.feed((b"", chunk("one")[6:-4]))
    return found


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("said", ["two", 'say "finishReason" and "error"', "data: {}\n\n", "\u2028", "x" * 9000])
def test_plain_deltas_repeat(end: bytes, said: str) -> None:
    assert observer().repeats(chunk(said, end)) == 1
    assert observer().repeats(chunk(said, end) * 7) == 7


@pytest.mark.parametrize(
    "read",
    [
        chunk("a", finishReason="STOP"),
        chunk("a") + chunk("a", finishReason="STOP") + chunk("a"),
        chunk("a") + chunk("a", b"\n\n"),
        chunk("a") + b": ping\r\n\r\n",
        chunk("a") + b'{"a":1}\r\n\r\n',
        chunk("a")[:-1],
        chunk("a")[1:],
        b'data: {"error":{"code":503}}\n\n',
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}\n\n',
        b'data: {"promptFeedback":{"blockReason":"SAFETY"}}\n\n',
        b'data: {"a":\n\ndata: {1}\n\n',
    ],
)
def test_others_do_not(read: bytes) -> None:
    assert observer().repeats(read) == 0


def test_the_usage_of_deltas_that_were_not_read() -> None:
    found = observer()
    found.repeats(chunk("a") + chunk("b").replace(b":4", b":44"))
    assert found.usage.input == 44
    assert found.stop is None
    assert not found.completed(True)


def test_several_finish_reasons() -> None:
    found = observer()
    for read in (chunk("a", finishReason="STOP"), chunk("b"), chunk("", finishReason="MAX_TOKENS")):
        found.feed((b"", read[6:-4]))
        assert not found.proof
    assert (found.stop, found.completed(True)) == ("length", True)

"""Citations of the request's own documents and search results: between Anthropic's Messages API and Converse, in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message, RawContentBlockDeltaEvent

from dragoman.codecs import events as ev
from dragoman.codecs import machine, passages
from dragoman.codecs.bedrock import EVENTS
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES, UPSTREAMS
from dragoman.codecs.reply import Reply, Unsaid
from dragoman.codecs.request import Request

from .test_converse_request_out import PDF, sent
from .test_converse_stream_in import BODIES, START, STREAMS, decode, delta, ends, stop

JSON = dict[str, Any]
ON = {"enabled": True}
CLAUDE, NOVA = "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.amazon.nova-2-lite-v1:0"
CITATIONS: list[tuple[JSON, JSON]] = [
    (
        {
            "type": "char_location",
            "cited_text": "c",
            "document_index": 1,
            "document_title": "t",
            "start_char_index": 0,
            "end_char_index": 3,
        },
        {"title": "t", "sourceContent": [{"text": "c"}], "location": {"documentChar": {"documentIndex": 1, "start": 0, "end": 3}}},
    ),
    (
        {
            "type": "page_location",
            "cited_text": "c",
            "document_index": 0,
            "document_title": "t",
            "start_page_number": 1,
            "end_page_number": 2,
        },
        {"title": "t", "sourceContent": [{"text": "c"}], "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}},
    ),
    (
        {
            "type": "content_block_location",
            "cited_text": "c",
            "document_index": 2,
            "document_title": "t",
            "start_block_index": 1,
            "end_block_index": 2,
        },
        {"title": "t", "sourceContent": [{"text": "c"}], "location": {"documentChunk": {"documentIndex": 2, "start": 1, "end": 2}}},
    ),
    (
        {
            "type": "search_result_location",
            "cited_text": "c",
            "search_result_index": 0,
            "source": "kb/7",
            "title": "t",
            "start_block_index": 1,
            "end_block_index": 2,
        },
        {
            "title": "t",
            "source": "kb/7",
            "sourceContent": [{"text": "c"}],
            "location": {"searchResultLocation": {"searchResultIndex": 0, "start": 1, "end": 2}},
        },
    ),
]
ASKED: JSON = {
    "max_tokens": 9,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "citations": ON},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}, "citations": ON},
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}, "citations": ON},
                {"type": "document", "source": {"type": "base64", "media_type": "text/csv", "data": "YSxi"}, "citations": ON},
                {
                    "type": "search_result",
                    "source": "kb/7",
                    "title": "t",
                    "citations": ON,
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                },
                {"type": "text", "text": "Cite."},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "It says "},
                {"type": "text", "text": "so.", "citations": [cited for cited, _ in CITATIONS]},
                {
                    "type": "text",
                    "text": " Or not.",
                    "citations": [{"type": "web_search_result_location", "url": "https://h"}, {"type": "x"}],
                },
            ],
        },
        {"role": "user", "content": "And?"},
    ],
}


def test_citations_are_asked_for_and_those_of_the_history_come_along() -> None:
    body, dropped, _ = sent(CLAUDE, "messages", ASKED)
    documents = [block for block in body["messages"][0]["content"] if "document" in block]
    assert [block["document"].get("citations") for block in documents] == [ON, ON, ON, None]
    (found,) = [block["searchResult"] for block in body["messages"][0]["content"] if "searchResult" in block]
    assert (found["citations"], found["content"]) == (ON, [{"text": "a"}, {"text": "b"}]), "its blocks are counted"
    assert body["messages"][1]["content"] == [
        {"text": "It says "},
        {"citationsContent": {"content": [{"text": "so."}], "citations": [cited for _, cited in CITATIONS]}},
        {"text": " Or not."},
    ]
    assert dropped == ["messages[*].content[*].citations"], "a table cannot be cited"


@pytest.mark.parametrize("shape", ["chat", "responses", "gemini"])
def test_what_cites_nothing_reports_it(shape: str) -> None:
    request = SHAPES["messages"].decode_request({"model": "m"} | {**ASKED, "messages": [{**ASKED["messages"][0]}]})
    request.turns[0].parts = request.turns[0].parts[1:2]
    UPSTREAMS[shape].encode_request(request, Capabilities(), "m")
    assert {"messages[*].content[*].citations"} <= set(request.ledger.names(request.ledger.dropped, ASKED))


def test_models_of_converse_that_cite_nothing() -> None:
    body, dropped, _ = sent(NOVA, "messages", ASKED)
    assert "citations" not in json.dumps(body)
    assert "messages[*].content[*].citations" in dropped


@pytest.mark.parametrize(("messages", "converse"), CITATIONS)
def test_each_kind_in_both_forms(messages: JSON, converse: JSON) -> None:
    assert passages.to_converse(messages) == converse
    passage = passages.of_converse(converse)
    assert passage is not None
    assert passage == passages.of_messages(messages)
    assert passages.to_messages(passage, "t", "c") == messages


@pytest.mark.parametrize("place", [{}, {"documentIndex": "0", "start": 0, "end": 1}, {"documentIndex": 0, "start": -1, "end": 1}, None, 1])
def test_a_place_that_is_none_is_reported(place: Any) -> None:
    unsaid = Unsaid()
    events = decode(START, delta(0, text="a"), delta(0, citation={"location": {"documentChar": place}}), stop(0), *ends(), unsaid=unsaid)
    assert ev.Opaque("content[0].citations:documentChar", within=True) in events


# ---- answers ----


def told(events: list[ev.Event], shape: str) -> tuple[JSON, list[JSON], Unsaid]:
    """The answer that a caller gets whole, and the data of the stream that it gets instead."""
    machine.check(events)
    reply = Reply(Request(shape, "m", {"max_tokens": 9}), nonce="n", created=1)
    collector = SHAPES[shape].Collector(reply)
    collector.feed(events)
    encoder = SHAPES[shape].Encoder(Reply(Request(shape, "m", {"max_tokens": 9}), nonce="n", created=1))
    data = [json.loads(frame[1]) for frame in encoder.feed(events) if frame[1].startswith(b"{")]
    return collector.body(), data, reply.unsaid


ANSWER: list[ev.Event] = decode(
    *(START, delta(0, text="It says ")),
    stop(0),
    *(delta(1, citation=CITATIONS[1][1]), delta(1, text="so."), delta(1, citation=CITATIONS[3][1]), stop(1)),
    *ends(),
)


def test_a_messages_caller_gets_them_where_they_stand() -> None:
    body, data, unsaid = told(ANSWER, "messages")
    wanted = [CITATIONS[1][0], CITATIONS[3][0]]
    assert [block.get("citations") for block in body["content"]] == [None, wanted]
    deltas = [one for one in data if one.get("delta", {}).get("type") == "citations_delta"]
    assert [(one["index"], one["delta"]["citation"]) for one in deltas] == [(1, wanted[0]), (1, wanted[1])]
    assert unsaid.labels == []
    Message.model_validate(body)
    for one in deltas:
        RawContentBlockDeltaEvent.model_validate(one)


@pytest.mark.parametrize("shape", ["chat", "responses", "gemini"])
def test_callers_of_other_apis_are_told_what_is_missing(shape: str) -> None:
    body, _, unsaid = told(ANSWER, shape)
    assert "kb/7" not in json.dumps(body)
    assert {label.partition(":")[2] for label in unsaid.labels} == {"documentPage", "searchResultLocation"}


def test_a_search_result_with_an_address_is_a_source_for_everyone() -> None:
    cited = CITATIONS[3][1] | {"source": "https://h/x"}
    events = decode(START, delta(0, text="so."), delta(0, citation=cited), stop(0), *ends())
    body, _, unsaid = told(events, "chat")
    assert body["choices"][0]["message"]["annotations"][0]["url_citation"]["url"] == "https://h/x"
    whole, _, _ = told(events, "messages")
    assert whole["content"][0]["citations"] == [CITATIONS[3][0] | {"source": "https://h/x"}]
    assert unsaid.labels == []


@pytest.mark.skipif(not BODIES, reason="DRAGOMAN_CORPUS is not set")
def test_recorded_citations() -> None:
    seen = 0
    for path in (path for path in [*BODIES, *STREAMS] if "citation" in path.parent.name):
        if path.suffix == ".json":
            raw = json.loads(path.read_bytes())
            events = UPSTREAMS["converse"].decode_response(raw, Reply(Request("messages", "m", {})))
        else:
            splitter = EVENTS.Splitter(1 << 24, Unsaid())
            decoder = UPSTREAMS["converse"].Decoder(Reply(Request("messages", "m", {})))
            events = [event for frame in splitter.feed(path.read_bytes()) for event in decoder.feed(frame)]
            events += decoder.finish(True)
        body, _, unsaid = told(events, "messages")
        Message.model_validate(body)
        cited = [one for block in body["content"] for one in block.get("citations") or []]
        assert all(passages.of_messages(one) is not None for one in cited)
        assert unsaid.labels == []
        seen += len(cited)
    assert seen >= 4

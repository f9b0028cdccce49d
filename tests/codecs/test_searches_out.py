"""Web searches of a responses upstream, as a messages client reads them: what Claude Code shows the links of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman.codecs import sse
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.ledger import Ledger
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.scrub import is_foreign, scrub

from .grammar import GRAMMARS

URL, OTHER = "https://a.example/", "https://b.example/"


def search(sources: list[str] | None) -> dict[str, Any]:
    action = {"type": "search", "query": "weather"} | (
        {} if sources is None else {"sources": [{"type": "url", "url": url} for url in sources]}
    )
    return {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": action}


def answer(*items: dict[str, Any]) -> dict[str, Any]:
    cited = {"type": "url_citation", "url": URL, "title": "A", "start_index": 0, "end_index": 5}
    text = {"type": "output_text", "text": "Sunny", "annotations": [cited], "logprobs": []}
    said = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    head = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "error": None}
    return head | {"incomplete_details": None, "output": [*items, said], "usage": usage}


def reply() -> Reply:
    return Reply(Request("messages", "m", {}), upstream="responses", nonce="7" * 32)


def collected(whole: dict[str, Any], shape: str = "messages") -> tuple[dict[str, Any], Reply]:
    told = reply()
    collector = SHAPES[shape].Collector(told)
    collector.feed(SHAPES["responses"].decode_response(whole, told))
    return collector.body(), told


def streamed(whole: dict[str, Any]) -> bytes:
    """The stream in which an upstream says the same."""
    events: list[dict[str, Any]] = [{"type": "response.created", "response": whole | {"status": "in_progress", "output": []}}]
    for index, item in enumerate(whole["output"]):
        bare = {key: value for key, value in item.items() if key != "action"} | ({"content": []} if "content" in item else {})
        events.append({"type": "response.output_item.added", "output_index": index, "item": bare})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": whole})
    told = reply()
    decoder, encoder = SHAPES["responses"].Decoder(told), SHAPES["messages"].Encoder(told)
    splitter = sse.Splitter()
    wire = b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)
    frames = [frame for part in splitter.feed(wire) for frame in encoder.feed(decoder.feed(part))]
    return SHAPES["messages"].framing.join(frames)


@pytest.mark.parametrize(("sources", "links"), [([OTHER, URL], {OTHER: OTHER, URL: URL}), (None, {URL: "A"}), ([], {URL: "A"})])
def test_links_are_shown(sources: list[str] | None, links: dict[str, str]) -> None:
    body, told = collected(answer(search(sources)))
    blocks = {block["type"]: block for block in body["content"]}
    assert blocks["server_tool_use"]["input"] == {"query": "weather"}
    result = blocks["web_search_tool_result"]
    assert result["tool_use_id"] == blocks["server_tool_use"]["id"]
    assert {found["url"]: found["title"] for found in result["content"]} == links
    assert blocks["text"]["text"] == "Sunny"
    assert body["usage"]["server_tool_use"]["web_search_requests"] == 1
    assert told.unsaid.count == 0
    kinds = [block["type"] for block in body["content"]]
    assert kinds == (
        ["server_tool_use", "web_search_tool_result", "text"] if sources else ["server_tool_use", "text", "web_search_tool_result"]
    )


@pytest.mark.parametrize("sources", [[OTHER], None])
def test_in_a_stream(sources: list[str] | None) -> None:
    data = streamed(answer(search(sources)))
    assert GRAMMARS["messages"](data) == "done"
    for part in (b'"server_tool_use"', b'"web_search_tool_result"', b'{\\"query\\":\\"weather\\"}'):
        assert part in data


def test_what_is_no_search_is_reported() -> None:
    opened = search(None) | {"action": {"type": "open_page", "url": URL}}
    body, told = collected(answer(opened))
    assert [block["type"] for block in body["content"]] == ["text"]
    assert told.unsaid.labels == ["output[0]:web_search_call"]
    for shape in ("chat",):
        assert collected(answer(search([URL])), shape)[1].unsaid.labels == ["output[0]:web_search_call"]


def test_anthropic_is_not_given_searches_that_it_did_not_make() -> None:
    body, _ = collected(answer(search([URL])))
    theirs = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    history = {"model": "m", "messages": [{"role": "assistant", "content": [theirs, *body["content"]]}]}
    assert is_foreign(json.dumps(history).encode(), SHAPES["messages"].marks)
    SHAPES["messages"].scrub(history, Capabilities(), ledger := Ledger())
    assert [block["type"] for block in history["messages"][0]["content"]] == ["server_tool_use", "text"]
    assert ledger.names(ledger.dropped, history)


def test_what_was_found_is_asked_for() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}], "tools": tools}
    for host in (True, False):
        request = SHAPES["messages"].decode_request(body)
        encoded = SHAPES["responses"].encode_request(request, Capabilities(openai_host=host), "m").body
        assert ("web_search_call.action.sources" in encoded["include"]) == host


@pytest.mark.parametrize("kind", [[], {}, 1, None])
def test_a_block_of_no_type_is_left_to_the_provider(kind: Any) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": kind}]}]}
    assert not scrub(SHAPES["messages"].scrub, body, Capabilities(), Ledger())

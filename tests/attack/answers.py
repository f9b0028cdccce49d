"""Odd and hostile answers of upstreams, of any size: as the frames of a stream, by the upstream's shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from dragoman.codecs.sse import Frame

Value = dict[str, Any]
Make = Callable[[int], Iterator[Frame]]

OPEN = 250  # blocks or items that an answer may have open at the same time
CALLS = 1000  # calls of a chat answer
LONG = "a" * 1000


def _named(value: Value) -> Frame:
    return value["type"].encode(), orjson.dumps(value)


# ---- chat ----


def _chunk(delta: Value, finish: str | None = None, **members: Any) -> Frame:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"", orjson.dumps({"id": "c", "model": "m", "choices": [choice | members]})


def _call(index: int | None, arguments: str = "", **members: Any) -> Frame:
    entry = {"function": {"arguments": arguments}, "type": "function"} | members
    return _chunk({"tool_calls": [entry if index is None else entry | {"index": index}]})


def _opened(index: int | None, arguments: str = "", id: str = "") -> Frame:
    return _call(index, id=id or f"call_{index}", function={"name": "read", "arguments": arguments})


def _chat_end(finish: str) -> Iterator[Frame]:
    yield _chunk({}, finish)
    yield b"", b"[DONE]"


def chat_in_turn(size: int) -> Iterator[Frame]:
    calls = min(size, CALLS)
    yield from (_opened(index, '{"a":"') for index in range(calls))
    yield from (_call(number % calls, "x") for number in range(size))
    yield from (_call(index, '"}') for index in reversed(range(calls)))
    yield _chunk({"content": "x"})
    yield from _chat_end("tool_calls")


def chat_by_id(size: int) -> Iterator[Frame]:
    calls = min(size, CALLS)
    for number in range(calls):
        yield _opened(None, '{"a":"', id=f"call_{number}")
    for number in range(size):
        yield _call(None, "x", id=f"call_{number % calls}")
    yield from _chat_end("tool_calls")


def chat_behind_open_calls(size: int) -> Iterator[Frame]:
    yield from (_opened(index, '{"a":"') for index in range(min(size, CALLS)))
    for _ in range(size):
        yield _chunk({"content": "x"})
        yield _chunk({"reasoning_content": "x"})
    yield from _chat_end("tool_calls")


def chat_one_id(size: int) -> Iterator[Frame]:
    yield from (_opened(index, "{}", id="call") for index in range(min(size, CALLS)))
    yield from _chat_end("tool_calls")


def chat_nameless(size: int) -> Iterator[Frame]:
    yield _call(0, "{", id="c")
    yield from (_call(0, LONG) for _ in range(size))
    yield _opened(0, "}", id="c")
    yield from _chat_end("tool_calls")


def _detail(**members: Any) -> Frame:
    return _chunk({"reasoning_details": [members]})


def chat_encrypted_pieces(size: int) -> Iterator[Frame]:
    piece = {"type": "reasoning.encrypted", "data": "x", "format": "openai-responses-v1", "index": 0, "id": "r"}
    yield from (_chunk({"reasoning_details": [piece] * 100}) for _ in range(size // 100))
    yield _chunk({"content": "x"})
    yield from _chat_end("stop")


def chat_foreign_entries(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _detail(type="reasoning.encrypted", data=f"x{number}", format="other", index=0)
    yield _chunk({"content": "x"})
    yield from _chat_end("stop")


def chat_foreign_texts(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _detail(type="reasoning.text", text="x", format="other", index=number)
    yield _chunk({"content": "x"})
    yield from _chat_end("stop")


def chat_foreign_ids(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _detail(type="reasoning.text", text="x", format="other", index=0, id=f"r{number}")
    yield _chunk({"content": "x"})
    yield from _chat_end("stop")


def chat_signed_afterwards(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _detail(type="reasoning.text", text="some text of some length", format="anthropic-claude-v1", index=number)
    for number in range(size):
        yield _detail(type="reasoning.text", signature="x", format="anthropic-claude-v1", index=number)
    yield _opened(0, "{}", id="c")
    yield from _chat_end("tool_calls")


def chat_signed_runs(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _detail(type="reasoning.text", text="x", signature="x", format="anthropic-claude-v1", index=number)
    yield from _chat_end("stop")


def chat_in_alternation(size: int) -> Iterator[Frame]:
    for _ in range(size):
        yield _chunk({"reasoning_content": "x"})
        yield _chunk({"content": "x"})
    yield from _chat_end("stop")


def _cited(url: str, end: int) -> Value:
    return {"type": "url_citation", "url_citation": {"url": url, "title": "t", "start_index": 0, "end_index": end}}


def chat_cited(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _chunk({"content": "some text of some length "})
        yield _chunk({"annotations": [_cited(f"https://a/{number}", 1)]})
    yield from _chat_end("stop")


def chat_cited_as_a_whole(size: int) -> Iterator[Frame]:
    yield _chunk({"content": "x" * 100 * size})
    for number in range(size):
        yield _chunk({"annotations": [_cited(f"https://a/{number}", 100 * size)]})
    yield from _chat_end("stop")


def chat_signatures(size: int) -> Iterator[Frame]:
    for _ in range(size):
        yield _chunk({"content": "x"})
        yield _chunk({"extra_content": {"google": {"thought_signature": "eA=="}}})
    yield from _chat_end("stop")


def chat_logprobs(size: int) -> Iterator[Frame]:
    for _ in range(size):
        yield _chunk({"content": "x"}, logprobs={"content": [{"token": "x", "logprob": 0}]})
    yield from _chat_end("stop")


def chat_odd_members(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _chunk({"content": "x", f"m{number}": 1}, **{f"c{number}": 1})
        yield b"", orjson.dumps({"choices": [], f"b{number}": 1, "usage": {"prompt_tokens": 1, f"u{number}": 1}})
    yield from _chat_end("stop")


def chat_pieces(size: int) -> Iterator[Frame]:
    yield _opened(0, "{", id="c")
    yield from (_call(0, piece) for _ in range(size) for piece in ('"a":', '"}', '{"', "}", '",'))
    yield from _chat_end("tool_calls")


def chat_refusals(size: int) -> Iterator[Frame]:
    for _ in range(size):
        yield _chunk({"refusal": "x"})
        yield _chunk({"reasoning_content": "x"})
    yield from _chat_end("stop")


# ---- messages ----


def _begun() -> Frame:
    return _named({"type": "message_start", "message": {"id": "m", "model": "m", "content": [], "usage": {"input_tokens": 1}}})


def _block(index: int, **content: Any) -> Frame:
    return _named({"type": "content_block_start", "index": index, "content_block": content})


def _delta(index: int, **delta: Any) -> Frame:
    return _named({"type": "content_block_delta", "index": index, "delta": delta})


def _json(index: int, text: str) -> Frame:
    return _delta(index, type="input_json_delta", partial_json=text)


def _shut(index: int) -> Frame:
    return _named({"type": "content_block_stop", "index": index})


def _use(index: int, id: str = "") -> Frame:
    return _block(index, type="tool_use", id=id or f"toolu_{index}", name="read", input={})


def _messages_end(reason: str = "end_turn") -> Iterator[Frame]:
    yield _named({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 1}})
    yield _named({"type": "message_stop"})


def _uses(indexes: range, arguments: str, id: str = "") -> Iterator[Frame]:
    for index in indexes:
        yield _use(index, id)
        yield _json(index, arguments)
        yield _shut(index)


def messages_one_id(size: int) -> Iterator[Frame]:
    yield _begun()
    yield from _uses(range(size), '{"a":1}', "toolu")
    yield from _messages_end("tool_use")


def messages_behind_an_open_call(size: int) -> Iterator[Frame]:
    yield _begun()
    yield _use(0)
    yield _json(0, '{"a":')
    yield from _uses(range(1, size), '{"a":1}')
    yield _json(0, "1}")
    yield _shut(0)
    yield from _messages_end("tool_use")


def messages_behind_a_broken_call(size: int) -> Iterator[Frame]:
    yield _begun()
    yield _use(0)
    yield _json(0, '{"a":"' + LONG * (size // 100))
    yield _shut(0)
    yield from _uses(range(1, size), '{"a":1}')
    yield from _messages_end("tool_use")


def messages_in_turn(size: int) -> Iterator[Frame]:
    calls = min(size, OPEN)
    yield _begun()
    yield from (_use(index) for index in range(calls))
    yield from (_json(index, '{"a":"') for index in range(calls))
    yield from (_json(number % calls, "x") for number in range(size))
    for index in reversed(range(calls)):
        yield _json(index, '"}')
        yield _shut(index)
    yield from _messages_end("tool_use")


def messages_texts(size: int) -> Iterator[Frame]:
    yield _begun()
    for index in reversed(range(size)):
        yield _block(index, type="text", text="")
        yield _delta(index, type="text_delta", text=LONG)
        yield _shut(index)
    yield from _messages_end()


def messages_cited(size: int) -> Iterator[Frame]:
    yield _begun()
    yield _block(0, type="text", text="")
    for number in range(size):
        yield _delta(0, type="text_delta", text=LONG)
        citation = {"type": "web_search_result_location", "url": f"https://a/{number}", "title": "t", "cited_text": ""}
        yield _delta(0, type="citations_delta", citation=citation)
    yield from _messages_end()


def messages_cited_texts(size: int) -> Iterator[Frame]:
    yield _begun()
    for index in range(size):
        citation = {"type": "web_search_result_location", "url": "https://a/", "title": "t", "cited_text": ""}
        yield _block(index, type="text", text=LONG, citations=[citation])
        yield _shut(index)
    yield from _messages_end()


def messages_thoughts(size: int) -> Iterator[Frame]:
    yield _begun()
    for index in range(0, size, 2):
        yield _block(index, type="thinking", thinking="", signature="")
        yield _delta(index, type="thinking_delta", thinking="x")
        yield _delta(index, type="signature_delta", signature="x")
        yield _shut(index)
        yield _block(index + 1, type="redacted_thinking", data="x")
        yield _shut(index + 1)
    yield from _uses(range(size, size + 1), "{}")
    yield from _messages_end("tool_use")


def messages_counts(size: int) -> Iterator[Frame]:
    yield _begun()
    yield _block(0, type="text", text="x")
    for number in range(size):
        yield _named({"type": "message_delta", "delta": {}, "usage": {f"u{number}": 1}})
    yield _shut(0)
    yield from _messages_end()


def messages_summary(size: int) -> Iterator[Frame]:
    yield _begun()
    yield _block(0, type="compaction", content="")
    yield from (_delta(0, type="compaction_delta", content=LONG) for _ in range(size))
    yield _shut(0)
    yield _block(1, type="text", text="x")
    yield from _messages_end()


def messages_blank(size: int) -> Iterator[Frame]:
    yield _begun()
    yield _use(0)
    yield _json(0, "n")
    yield from (_json(0, " " * 1000) for _ in range(size))
    yield _shut(0)
    yield from _messages_end("tool_use")


def messages_programs(size: int) -> Iterator[Frame]:
    yield _begun()
    for index in range(size):
        yield _block(index, type="server_tool_use", id=f"s{index}", name="code", input={})
        yield _block(index, type="tool_use", id=f"t{index}", name="read", input={}, caller={"tool_id": f"s{index}"})
        yield _shut(index)
    yield _block(size, type="text", text="x")
    yield from _messages_end()


# ---- responses ----


def _event(kind: str, **members: Any) -> Frame:
    return _named({"type": f"response.{kind}", **members})


def _item(kind: str, index: int | None, **item: Any) -> Frame:
    place = {} if index is None else {"output_index": index}
    return _event(f"output_item.{kind}", **place, item=item)


def _responses_end(output: list[Value]) -> Frame:
    return _event("completed", response={"id": "r", "object": "response", "status": "completed", "output": output})


def _message(number: int, *texts: str) -> Value:
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": f"msg_{number}", "role": "assistant", "content": content}


def _function(number: int, call_id: str = "", arguments: str = "{}") -> Value:
    called = {"type": "function_call", "id": f"fc_{number}", "call_id": call_id or f"call_{number}", "name": "read"}
    return called | {"arguments": arguments}


def responses_messages(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _item("done", number, **_message(number, "x"))
    yield _responses_end([])


def responses_pieces(size: int) -> Iterator[Frame]:
    yield _item("added", 0, **_message(0))
    yield _event("content_part.added", output_index=0, content_index=0, part={"type": "output_text", "text": ""})
    yield from (_event("output_text.delta", output_index=0, content_index=0, delta=LONG) for _ in range(size))
    yield _item("done", 0, **_message(0, LONG * size))
    yield _responses_end([])


def responses_thoughts(size: int) -> Iterator[Frame]:
    for number in range(size):
        item = {"type": "reasoning", "id": f"rs_{number}", "summary": [{"type": "summary_text", "text": "x"}], "encrypted_content": "x"}
        yield _item("added", number, **item | {"summary": []})
        yield _event("reasoning_summary_text.delta", output_index=number, summary_index=0, delta="x")
        yield _item("done", number, **item)
    yield _responses_end([])


def responses_one_id(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _item("added", number, **_function(number, "call", ""))
        yield _item("done", number, **_function(number, "call"))
    yield _responses_end([])


def responses_without_places(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _item("added", None, **_function(number, arguments=""))
        yield _event("function_call_arguments.delta", item_id=f"fc_{number}", delta="{")
        yield _event("function_call_arguments.delta", item_id=f"fc_{number}", delta="}")
        yield _item("done", None, **_function(number))
    yield _responses_end([])


def responses_without_ids(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _item("added", None, **_function(number, arguments="") | {"id": ""})
        yield _event("function_call_arguments.delta", delta="{")
        yield _event("function_call_arguments.delta", delta="}")
        yield _item("done", None, **_function(number) | {"id": ""})
    yield _responses_end([])


def responses_of_the_first(size: int) -> Iterator[Frame]:
    yield _item("added", 0, **_function(0, arguments=""))
    for number in range(1, size):
        yield _item("added", number, **_function(number, arguments=""))
        yield _item("done", number, **_function(number))
        yield _event("function_call_arguments.delta", item_id="fc_0", delta="x")
        yield _event("function_call_arguments.delta", delta="x")
    yield _responses_end([])


def responses_at_one_place(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _item("added", 0, **_function(number, arguments=""))
        yield _event("function_call_arguments.delta", output_index=0, item_id=f"fc_{number}", delta="{}")
        yield _item("done", 0, **_function(number))
    yield _responses_end([])


def responses_at_the_end(size: int) -> Iterator[Frame]:
    yield _event("created", response={"id": "r"})
    yield _responses_end([_function(number) for number in range(size)])


def responses_renamed_at_the_end(size: int) -> Iterator[Frame]:
    yield from responses_messages(size // 2)
    for number in range(size // 2):
        yield _item("done", size + number, **_function(number))
    yield _responses_end([_function(number) | {"id": f"other_{number}"} for number in range(size // 2)])


def responses_in_turn(size: int) -> Iterator[Frame]:
    items = min(size, OPEN)
    yield from (_item("added", number, **_message(number)) for number in reversed(range(items)))
    yield from (_event("output_text.delta", output_index=number % items, content_index=0, delta="x") for number in range(size))
    yield from (_item("done", number, **_message(number)) for number in reversed(range(items)))
    yield _responses_end([])


def responses_parts(size: int) -> Iterator[Frame]:
    yield _item("added", 0, **_message(0))
    for number in range(size):
        yield _event("output_text.delta", output_index=0, content_index=number, delta="x")
        part = {"type": "output_text", "text": "x", "annotations": []}
        yield _event("content_part.done", output_index=0, content_index=number, part=part)
    yield _item("done", 0, **_message(0, *["x"] * size))
    yield _responses_end([])


def responses_cited(size: int) -> Iterator[Frame]:
    yield _item("added", 0, **_message(0))
    for number in range(size):
        yield _event("output_text.delta", output_index=0, content_index=0, delta=LONG)
        annotation = {"type": "url_citation", "url": f"https://a/{number}", "title": "t", "start_index": 0, "end_index": 1}
        yield _event("output_text.annotation.added", output_index=0, content_index=0, annotation=annotation)
    yield _responses_end([])


def responses_cited_as_a_whole(size: int) -> Iterator[Frame]:
    yield _item("added", 0, **_message(0))
    yield _event("output_text.delta", output_index=0, content_index=0, delta="x" * 100 * size)
    for number in range(size):
        annotation = {"type": "url_citation", "url": f"https://a/{number}", "title": "t"}
        yield _event("output_text.annotation.added", output_index=0, content_index=0, annotation=annotation)
    yield _responses_end([])


def responses_blank(size: int) -> Iterator[Frame]:
    yield _item("added", 0, **_function(0, arguments=""))
    yield _event("function_call_arguments.delta", output_index=0, delta="n")
    yield from (_event("function_call_arguments.delta", output_index=0, delta=" " * 1000) for _ in range(size))
    yield _responses_end([])


def responses_searches(size: int) -> Iterator[Frame]:
    for number in range(size):
        item = {"type": "web_search_call", "id": f"ws_{number}", "action": {"type": "search", "query": "x"}}
        yield _item("added", 2 * number, **item)
        yield _item("done", 2 * number, **item)
        yield _item("done", 2 * number + 1, **_message(number, "x"))
    yield _responses_end([])


# ---- gemini ----


def _parts(*parts: Value, **candidate: Any) -> Frame:
    content = {"role": "model", "parts": list(parts)}
    return b"", orjson.dumps({"candidates": [{"content": content} | candidate], "modelVersion": "m", "responseId": "r"})


def _gemini_end() -> Frame:
    return _parts({"text": "x"}, finishReason="STOP")


def gemini_calls(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _parts({"functionCall": {"name": "read", "args": {"a": number}, "id": "call"}, "thoughtSignature": "eA=="})
    yield _gemini_end()


def gemini_signed_texts(size: int) -> Iterator[Frame]:
    for _ in range(size):
        yield _parts({"text": LONG, "thoughtSignature": "eA=="})
    yield _gemini_end()


def gemini_in_alternation(size: int) -> Iterator[Frame]:
    for _ in range(size):
        yield _parts({"text": "x", "thought": True})
        yield _parts({"text": "x"})
        yield _parts({"executableCode": {"code": "x"}})
    yield _gemini_end()


def gemini_pieces(size: int) -> Iterator[Frame]:
    yield _parts({"functionCall": {"name": "read", "willContinue": True}})
    for number in range(size):
        for pieces in (
            [{"jsonPath": "$.a", "stringValue": LONG, "willContinue": True}],
            [{"jsonPath": f"$.l[{number}]", "numberValue": 1}],
            [{"jsonPath": f"$.o.m{number}", "stringValue": "x"}],
        ):
            yield _parts({"functionCall": {"partialArgs": pieces, "willContinue": True}})
    yield _parts({"functionCall": {}})
    yield _gemini_end()


def gemini_sources(size: int) -> Iterator[Frame]:
    for number in range(size):
        support = {"segment": {"startIndex": 0, "endIndex": 1}, "groundingChunkIndices": [0]}
        found = {"groundingChunks": [{"web": {"uri": "https://a/", "title": "t"}}], "groundingSupports": [support], f"m{number}": 1}
        cited = {"citationSources": [{"uri": f"https://b/{number}", "startIndex": 0, "endIndex": 1}]}
        yield _parts({"text": "some text of some length"}, groundingMetadata=found, citationMetadata=cited)
    yield _gemini_end()


# ---- converse ----


def _of_block(kind: str, index: int, **members: Any) -> Frame:
    return f"contentBlock{kind}".encode(), orjson.dumps({"contentBlockIndex": index, **members})


def _converse_end(reason: str = "end_turn") -> Iterator[Frame]:
    yield b"messageStop", orjson.dumps({"stopReason": reason})
    yield b"metadata", orjson.dumps({"usage": {"inputTokens": 1, "outputTokens": 1}})


def _tool(index: int, id: str) -> Frame:
    return _of_block("Start", index, start={"toolUse": {"toolUseId": id, "name": "read"}})


def converse_calls(size: int) -> Iterator[Frame]:
    yield b"messageStart", b'{"role":"assistant"}'
    for index in range(size):
        yield _tool(index, "call")
        yield _of_block("Delta", index, delta={"toolUse": {"input": "{}"}})
        yield _of_block("Stop", index)
    yield from _converse_end("tool_use")


def converse_in_turn(size: int) -> Iterator[Frame]:
    calls = min(size, OPEN)
    yield from (_tool(index, f"call_{index}") for index in range(calls))
    yield from (_of_block("Delta", number % calls, delta={"toolUse": {"input": "x"}}) for number in range(size))
    yield from (_of_block("Stop", index) for index in reversed(range(calls)))
    yield from _converse_end("tool_use")


def converse_signature(size: int) -> Iterator[Frame]:
    for _ in range(size):
        yield _of_block("Delta", 0, delta={"reasoningContent": {"signature": LONG}})
    yield from _converse_end()


def converse_redacted(size: int) -> Iterator[Frame]:
    for _ in range(size):
        yield _of_block("Delta", 0, delta={"reasoningContent": {"redactedContent": LONG}})
    yield from _converse_end()


def converse_cited(size: int) -> Iterator[Frame]:
    for number in range(size):
        yield _of_block("Delta", 0, delta={"text": "some text of some length"})
        yield _of_block("Delta", 0, delta={"citation": {"title": "t", "location": {"web": {"url": f"https://a/{number}"}}}})
    yield from _converse_end()


def converse_blocks(size: int) -> Iterator[Frame]:
    for index in range(size):
        yield _of_block("Delta", index, delta={"text": "x"})
    yield from _converse_end()


_SHAPES = ("chat", "messages", "responses", "gemini", "converse")
STREAMS: dict[str, dict[str, Make]] = {
    shape: {name: make for name, make in globals().items() if name.startswith(f"{shape}_")} for shape in _SHAPES
}


# ---- whole answers ----


def _completion(**message: Any) -> Value:
    return {"choices": [{"message": {"role": "assistant"} | message, "finish_reason": "stop"}]}


def completion_calls(size: int) -> Value:
    call = {"id": "call", "type": "function", "function": {"name": "read", "arguments": "{}"}}
    return _completion(tool_calls=[call] * min(size, CALLS))


def completion_texts(size: int) -> Value:
    return _completion(content=[{"type": "text", "text": "x"}, {"type": "thinking", "thinking": "x"}] * size)


def completion_details(size: int) -> Value:
    entry = {"type": "reasoning.text", "text": "x", "signature": "x", "format": "anthropic-claude-v1"}
    return _completion(content="x", reasoning_details=[entry | {"index": index} for index in range(size)])


def message_calls(size: int) -> Value:
    return {"id": "m", "type": "message", "content": [{"type": "tool_use", "id": "toolu", "name": "read", "input": {}}] * size} | _ENDED


def message_texts(size: int) -> Value:
    content = [{"type": "text", "text": "x" * 100}, {"type": "thinking", "thinking": "x", "signature": "x"}] * size
    return {"id": "m", "type": "message", "content": content} | _ENDED


_ENDED = {"stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}


def response_calls(size: int) -> Value:
    return _response([_function(number) for number in range(size)])


def response_messages(size: int) -> Value:
    return _response([_message(number, "x") for number in range(size)])


def response_parts(size: int) -> Value:
    return _response([_message(0, *["x"] * size)])


def _response(output: list[Value]) -> Value:
    return {"object": "response", "id": "r", "status": "completed", "output": output}


def generated_parts(size: int) -> Value:
    parts = [{"text": "x"}, {"thought": True, "text": "x"}, {"functionCall": {"name": "read", "id": "call", "args": {}}}] * size
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}


def output_blocks(size: int) -> Value:
    call = {"toolUse": {"name": "read", "toolUseId": "call", "input": {}}}
    thought = {"reasoningContent": {"reasoningText": {"text": "x", "signature": "x"}}}
    return {"output": {"message": {"content": [{"text": "x"}, call, thought] * size}}, "stopReason": "tool_use"}


WHOLE: dict[str, dict[str, Callable[[int], Value]]] = {
    shape: {name: make for name, make in globals().items() if name.startswith(f"{begin}_")}
    for shape, begin in zip(_SHAPES, ("completion", "message", "response", "generated", "output"), strict=True)
}

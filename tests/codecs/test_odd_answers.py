"""Answers that servers give in their own way: where sources stand, how items are numbered, what only one shape has a word for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman.codecs.chat.errors_in import decode_error, error_of
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.responses import failed as failed_response

from .chatting import chunk, cited, finished, says


class Heard:
    """What a caller of a shape is told of a stream, or of a whole answer."""

    def __init__(self, upstream: str, caller: str, *values: dict[str, Any], **request: Any) -> None:
        self.caller = caller
        self.reply = Reply(Request(caller, "m", {}, **request), upstream=upstream)
        decoder, collector = SHAPES[upstream].Decoder(self.reply), SHAPES[caller].Collector(self.reply)
        if len(values) == 1 and SHAPES[upstream].bears in values[0] and "delta" not in json.dumps(values[0]):
            collector.feed(SHAPES[upstream].decode_response(values[0], self.reply))
        else:
            for value in values:
                collector.feed(decoder.feed((b"", json.dumps(value).encode())))
            collector.feed(decoder.finish(True))
        self.error = collector.error
        self.body = {} if self.error else collector.body()
        self.reported = self.reply.unsaid.labels

    @property
    def texts(self) -> list[str]:
        if self.caller == "messages":
            return [block["text"] for block in self.body["content"] if block["type"] == "text"]
        if self.caller == "chat":
            return [self.body["choices"][0]["message"]["content"]]
        return [part["text"] for item in self.body["output"] if item["type"] == "message" for part in item["content"]]

    @property
    def calls(self) -> list[tuple[str, str, Any]]:
        if self.caller == "chat":
            entries = self.body["choices"][0]["message"].get("tool_calls", [])
            return [(entry["id"], entry["function"]["name"], json.loads(entry["function"]["arguments"])) for entry in entries]
        return [(block["id"], block["name"], block["input"]) for block in self.body["content"] if block["type"] == "tool_use"]

    @property
    def sources(self) -> list[tuple[str, str]]:
        if self.caller == "messages":
            found = [citation for block in self.body["content"] for citation in block.get("citations") or []]
        else:
            parts = [part for item in self.body["output"] if item["type"] == "message" for part in item["content"]]
            found = [annotation for part in parts for annotation in part["annotations"]]
        return [(source["url"], source["title"]) for source in found]


# ---- chat: beside the choices ----

A, B = "https://example.org/a", "https://example.org/b"
RESULTS = [{"title": "A", "url": A, "date": "2026-01-01"}]


def completion(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]} | more


@pytest.mark.parametrize("caller", ["messages", "responses"])
@pytest.mark.parametrize(
    ("beside", "sources"),
    [
        ({"citations": [A, B]}, [(A, ""), (B, "")]),
        ({"citations": [A, B], "search_results": RESULTS}, [(A, "A"), (B, "")]),
        ({"citations": [], "search_results": None}, []),
        ({"citations": [7, {"url": A, "title": "A"}, {"no": "url"}]}, [(A, "A")]),
    ],
)
def test_sources_beside_the_choices(caller: str, beside: dict[str, Any], sources: list[tuple[str, str]]) -> None:
    whole = Heard("chat", caller, completion({"content": "Cold [1]."}, **beside))
    assert (whole.sources, whole.reported) == (sources, [])
    for last in ([finished() | beside], [finished(), {"choices": [], **beside}], [chunk({}) | beside, finished()]):
        streamed = Heard("chat", caller, says("Cold"), says(" [1]."), *last)
        assert (streamed.sources, streamed.texts, streamed.reported) == (sources, ["Cold [1]."], [])


def test_sources_that_the_text_has_already_come_once() -> None:
    message = {"content": "Cold", "annotations": [cited(0, 4, url=A)]}
    assert Heard("chat", "responses", completion(message, citations=[A, B])).sources == [(A, "t"), (B, "")]


def test_sources_of_no_text_are_reported() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    heard = Heard("chat", "messages", completion({"content": "a", "tool_calls": [call]}, citations=[A]))
    assert (heard.sources, heard.reported) == ([], ["citations"])


def test_what_nobody_knows_beside_the_choices_is_reported() -> None:
    beside = {"images": [1], "related_questions": ["?"], "system_fingerprint": "fp", "provider": "P", "nothing": []}
    for values in ([completion({"content": "a"}, **beside)], [says("a"), finished() | beside, {"choices": [], "images": [1]}]):
        assert Heard("chat", "messages", *values).reported == ["images", "related_questions"]


@pytest.mark.parametrize("caller", ["messages", "responses"])
def test_one_answer_in_several_choices(caller: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    split = {"choices": [{"message": {"content": "Let me look."}, "finish_reason": "tool_calls"}]}
    split["choices"] += [{"message": {"content": None, "tool_calls": [call | {"id": id}]}, "finish_reason": "tool_calls"} for id in "cd"]
    heard = Heard("chat", caller, split)
    assert heard.texts == ["Let me look."]
    assert json.dumps(heard.body).count('"name": "f"') == 2
    other = {"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}, {"index": 1, "message": {"content": "b"}}]}
    heard = Heard("chat", caller, other)
    assert (heard.texts, heard.reported) == (["a"], ["choices[1]"])


# ---- responses: which item is meant ----


def event(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **members}


def called(id: Any, call_id: str, name: str, arguments: Any = "") -> dict[str, Any]:
    return {"type": "function_call", "id": id, "call_id": call_id, "name": name, "arguments": arguments}


def piece(item_id: Any, delta: str, **place: Any) -> dict[str, Any]:
    return event("function_call_arguments.delta", item_id=item_id, delta=delta, **place)


def completed(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    return event("completed", response={"id": "r", "object": "response", "status": "completed", "output": list(output), **more})


def words(delta: str, **place: Any) -> dict[str, Any]:
    return event("output_text.delta", delta=delta, **place)


AT = {"output_index": 0}
ONE, TWO = ("c1", "f", {"x": 1}), ("c2", "g", {"y": 2})


@pytest.mark.parametrize(
    ("values", "calls"),
    [
        # an index that two calls have, one after the other and at once
        ([event("output_item.added", **AT, item=called("a", "c1", "f")), piece("a", '{"x":1}', **AT),
          event("output_item.done", **AT, item=called("a", "c1", "f", '{"x":1}')),
          event("output_item.added", **AT, item=called("b", "c2", "g")), piece("b", '{"y":2}', **AT),
          event("output_item.done", **AT, item=called("b", "c2", "g", '{"y":2}')), completed()], [ONE, TWO]),
        ([event("output_item.added", **AT, item=called("a", "c1", "f")), event("output_item.added", **AT, item=called("b", "c2", "g")),
          piece("b", '{"y":', **AT), piece("a", '{"x":', **AT), piece("b", "2}", **AT), piece("a", "1}", **AT), completed()], [ONE, TWO]),
        # without an id, with the call's id for it, without any number
        ([event("output_item.added", output_index=None, item=called(None, "c1", "f")), piece(None, '{"x":'), piece(None, "1}"),
          event("output_item.done", output_index=None, item=called(None, "c1", "f", '{"x":1}')), completed()], [ONE]),
        ([event("output_item.added", item=called(None, "fc_1", "f")), event("output_item.added", item=called(None, "fc_2", "g")),
          piece("fc_1", '{"x":1}'), piece("fc_2", '{"y":2}'), completed()], [("fc_1", "f", {"x": 1}), ("fc_2", "g", {"y": 2})]),
        # never announced: the end of the arguments, of the item, or of the response says what it is
        ([piece("a", '{"x":', **AT), piece("a", "1}", **AT),
          event("output_item.done", **AT, item=called("a", "c1", "f", '{"x":1}')), completed()], [ONE]),
        ([piece("a", '{"x":1}', **AT), completed(called("a", "c1", "f", '{"x":1}'))], [ONE]),
        # the last event may have none of what was streamed (ChatGPT's backend)
        ([event("output_item.added", **AT, item=called("a", "c1", "f")), piece("a", '{"x":1}', **AT), completed()], [ONE]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("caller", ["chat", "messages"])
def test_calls_in_a_responses_stream(caller: str, values: list[dict[str, Any]], calls: list[tuple[str, str, Any]]) -> None:
    heard = Heard("responses", caller, *values)
    assert (heard.calls, heard.reported) == (calls, [])


def test_the_end_of_arguments_may_name_the_call() -> None:
    done = event("function_call_arguments.done", **AT, item_id="a", name="f", arguments='{"x":1}')
    assert [call[1:] for call in Heard("responses", "chat", piece("a", '{"x":1}', **AT), done, completed()).calls] == [("f", {"x": 1})]


def test_a_text_and_a_call_with_one_index() -> None:
    message = event("output_item.added", **AT, item={"type": "message", "id": "m", "content": []})
    call = event("output_item.added", **AT, item=called("a", "c1", "f"))
    spoken = words("Hi", **AT, content_index=0, item_id="m")
    heard = Heard("responses", "messages", message, spoken, call, piece("a", '{"x":1}', **AT), completed())
    assert (heard.texts, heard.calls) == (["Hi"], [ONE])


def test_pieces_of_text_that_name_nothing_are_one_text() -> None:
    assert Heard("responses", "messages", words("a"), words("b"), completed()).texts == ["ab"]


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


@pytest.mark.parametrize(
    ("streamed", "whole", "texts"),
    [
        ([(1, "Hello")], ["Hello"], ["Hello"]),  # gpt-oss
        ([(0, "a"), (2, "b")], ["a", "b"], ["a", "b"]),
        ([(1, "b")], ["a", "b"], ["b", "a"]),  # the first was never streamed
        ([(0, "a")], ["a", "b"], ["a", "b"]),
    ],
)
def test_a_text_at_another_place_than_the_whole_has_it(streamed: list[tuple[int, str]], whole: list[str], texts: list[str]) -> None:
    item = {"type": "message", "id": "m", "content": list(map(_part, whole))}
    values = [words(text, **AT, content_index=index, item_id="m") for index, text in streamed]
    for end in ([event("output_item.done", **AT, item=item), completed(item)], [completed(item)]):
        assert Heard("responses", "messages", *values, *end).texts == texts


@pytest.mark.parametrize("kind", ["reasoning.delta", "reasoning_text.delta"])
def test_raw_reasoning_by_either_name(kind: str) -> None:
    values = [event(kind, **AT, item_id="rs", content_index=0, delta=delta) for delta in ("pl", "an")]
    heard = Heard("responses", "messages", *values, completed())
    assert heard.body["content"][0]["thinking"] == "plan"
    assert heard.reported == []


def test_a_tool_goes_on_behind_a_text_that_took_its_index() -> None:
    """MiniMax; the arguments that come for the index are the tool's."""
    begun = {"type": "message_start", "message": {"id": "msg_1", "content": []}}
    tool = {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}
    text = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "On."}}
    pieces = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": p}} for p in ('{"x"', ":1}")
    ]
    stop, ends = {"type": "content_block_stop", "index": 0}, {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}
    heard = Heard("messages", "chat", begun, tool, pieces[0], text, pieces[1], stop, stop, ends, {"type": "message_stop"})
    assert (heard.calls, heard.texts, heard.reported) == ([("t", "f", {"x": 1})], ["On."], [])


_SAYS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking"), "tool_use": ("input_json_delta", "partial_json")}


@pytest.mark.parametrize(
    ("within", "pieces", "thoughts", "texts", "calls"),
    [
        ("thinking", [("thinking", "Hm."), ("text", "O"), ("text", "n.")], "Hm.", ["On."], []),
        ("text", [("thinking", "Hm."), ("text", "On.")], "Hm.", ["On."], []),
        ("tool_use", [("tool_use", '{"x"'), ("text", "On."), ("tool_use", ":1}")], None, ["On."], [("t", "f", {"x": 1})]),
        ("thinking", [("thinking", "Hm."), ("text", "")], "Hm.", [""], []),
    ],
)
def test_text_within_a_block_of_another_kind(
    within: str, pieces: list[tuple[str, str]], thoughts: str | None, texts: list[str], calls: list[Any]
) -> None:
    """SGLang, vLLM: one block for all that was said."""
    block = {"type": within, "id": "t", "name": "f", "input": {}, "thinking": "", "text": ""}
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": _SAYS[kind][0], _SAYS[kind][1]: text}} for kind, text in pieces]
    ends = [{"type": "content_block_stop", "index": 0}, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}]
    begun = {"type": "message_start", "message": {"id": "msg_1", "content": []}}
    opened = {"type": "content_block_start", "index": 0, "content_block": block}
    heard = Heard("messages", "chat", begun, opened, *deltas, *ends, {"type": "message_stop"})
    assert heard.body["choices"][0]["message"].get("reasoning_content") == thoughts
    assert (heard.calls, heard.texts) == (calls, texts)


# ---- what stands between ----

SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}


def message(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"id": "m", "type": "message", "content": list(content), "stop_reason": "end_turn", "usage": {"input_tokens": 1}}
    return body | more


def test_texts_around_a_server_tool_are_two() -> None:
    said = [{"type": "text", "text": text} for text in ("I search.", "I found.")]
    assert Heard("messages", "responses", message(said[0], SEARCH, said[1])).texts == ["I search.", "I found."]
    assert Heard("messages", "chat", message(said[0], SEARCH, said[1])).texts == ["I search.\n\nI found."]
    assert Heard("messages", "responses", message(*said)).texts == ["I search.I found."]


# ---- what only one shape has a word for ----

TEXT = {"type": "text", "text": "a"}
ITEM = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [_part("a")]}


@pytest.mark.parametrize("caller", ["chat", "messages"])
@pytest.mark.parametrize(
    ("member", "value", "label"),
    [
        ("moderation", {"input": {"flagged": True}}, "moderation"),
        ("input_transformations", [{"id": "rs_0"}], "input_transformations"),
        ("prompt_cache_diagnostics", {"type": "cache_miss"}, "prompt_cache_diagnostics"),
        ("of_tomorrow", "x", "of_tomorrow"),
        ("of_tomorrow", None, ""),
        ("billing", {"payer": "developer"}, ""),
        ("temperature", 1.0, ""),
    ],
)
def test_members_of_a_response(caller: str, member: str, value: Any, label: str) -> None:
    for values in ([completed(ITEM, **{member: value})["response"]], [completed(ITEM, **{member: value})]):
        assert Heard("responses", caller, *values).reported == ([label] if label else [])


def test_details_of_a_message() -> None:
    usage = {"input_tokens": 1, "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 0}}
    assert Heard("messages", "responses", message(TEXT, usage=usage)).reported == ["usage.server_tool_use"]
    unused = {"input_tokens": 1, "server_tool_use": {"web_search_requests": 0}}
    assert Heard("messages", "chat", message(TEXT, usage=unused)).reported == []
    stored = {"cache_creation_input_tokens": 2, "cache_creation": {"ephemeral_1h_input_tokens": 2}}
    assert Heard("messages", "chat", message(TEXT, usage=stored)).reported == ["usage.cache_creation"]
    details = {"type": "refusal", "category": "cyber", "explanation": None}
    refused = message(TEXT, stop_reason="refusal", stop_details=details)
    assert Heard("messages", "chat", refused).reported == ["stop_details.category:cyber"]


@pytest.mark.parametrize(("tier", "told"), [("flex", "flex"), ("fast", "fast"), ("ultrafast", None), ("of_tomorrow", None)])
def test_a_tier_that_chat_callers_do_not_know(tier: str, told: str | None) -> None:
    heard = Heard("responses", "chat", completed(ITEM, service_tier=tier, usage={"input_tokens": 1, "output_tokens": 1})["response"])
    assert heard.body.get("service_tier") == told
    assert heard.reported == ([] if told else [f"service_tier:{tier}"])


# ---- logprobs ----

ENTRY = {"token": "é", "logprob": -0.1, "bytes": [195, 169], "top_logprobs": []}


@pytest.mark.parametrize("lack", [{}, {"bytes": None}, {"bytes": ..., "top_logprobs": ...}, {"top_logprobs": None}])
def test_logprobs_have_all_of_their_members(lack: dict[str, Any]) -> None:
    entry = {key: value for key, value in (ENTRY | lack).items() if value is not ...}
    choice = {"index": 0, "message": {"content": "é"}, "finish_reason": "stop", "logprobs": {"content": [entry]}}
    heard = Heard("chat", "responses", {"choices": [choice]}, include_logprobs=True)
    assert heard.body["output"][0]["content"][0]["logprobs"] == [ENTRY]
    item = ITEM | {"content": [_part("é") | {"logprobs": [entry]}]}
    heard = Heard("responses", "chat", completed(item)["response"], include_logprobs=True)
    assert heard.body["choices"][0]["logprobs"]["content"] == [ENTRY]


def test_alternatives_have_their_bytes_and_logprobs_of_refusals_are_reported() -> None:
    entry = ENTRY | {"top_logprobs": [{"token": "e", "logprob": -2.0, "bytes": None}]}
    choice = {"index": 0, "message": {"content": "é"}, "finish_reason": "stop", "logprobs": {"content": [entry]}}
    heard = Heard("chat", "responses", {"choices": [choice]}, include_logprobs=True)
    assert heard.body["output"][0]["content"][0]["logprobs"][0]["top_logprobs"] == [{"token": "e", "logprob": -2.0, "bytes": [101]}]
    refused = choice | {"message": {"content": None, "refusal": "No."}, "logprobs": {"content": None, "refusal": [ENTRY]}}
    assert Heard("chat", "responses", {"choices": [refused]}).reported == ["choices[0].logprobs.refusal"]


# ---- whose fault it is ----

BLAMES = [
    "invalid_prompt", "invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_too_large",
    "image_too_small", "image_parse_error", "invalid_image_mode", "image_file_too_large", "unsupported_image_media_type",
    "empty_image_file", "failed_to_download_image", "image_file_not_found", "data_residency_mismatch", "unsupported_of_tomorrow",
    "tool_name_conflict", "tool_reference_unresolved",
]  # fmt: skip
POLICIES = ["bio_policy", "misalignment_policy_violation", "image_content_policy_violation", "of_tomorrow_policy"]
KINDS = [*((code, "bad_request") for code in BLAMES), *((code, "content_policy") for code in POLICIES)]
KINDS += [("server_error", "server"), ("rate_limit_exceeded", "rate_limit"), ("vector_store_timeout", "server"), ("of_tomorrow", "server")]


@pytest.mark.parametrize(("code", "kind"), KINDS)
def test_a_failed_response(code: str, kind: str) -> None:
    failed = {"id": "r", "object": "response", "status": "failed", "output": [], "error": {"code": code, "message": "No."}}
    heard = Heard("responses", "chat", failed)
    assert heard.error is not None
    assert (heard.error.kind, heard.error.message) == (kind, "No.")
    if kind in ("bad_request", "content_policy"):
        assert heard.error.http_status("chat") == heard.error.http_status("messages") == 400
        assert heard.error.openai()["code"] == code


@pytest.mark.parametrize(
    "code",
    [
        "tool_name_conflict", "tool_reference_unresolved", "available_tools_limit_exceeded", "compaction_not_supported", "thread_expired",
        "image_dimensions_too_large", "of_tomorrow",
    ],
)  # fmt: skip
def test_the_code_of_anthropics_details(code: str) -> None:
    """Before the answer and within it, to callers of every API."""
    error = {"type": "invalid_request_error", "message": "No.", "details": {"error_code": code}}
    body = {"type": "error", "error": error}
    for read in (decode_error(400, json.dumps(body).encode()), error_of(body)):
        assert read.openai()["code"] == code
        assert [read.http_status(shape) for shape in SHAPES] == [400] * len(SHAPES)
    assert failed_response({}, error_of(body))["error"] == {"code": code, "message": "No."}


def test_what_a_response_says_of_its_failure() -> None:
    """Its own words stay: what it is about, and what may be done."""
    said = {
        "code": "misalignment_policy_violation",
        "message": "No.",
        "type": "invalid_request_error",
        "param": "input",
        "misalignment": {"a": 1},
    }
    heard = Heard("responses", "messages", {"id": "r", "object": "response", "status": "failed", "output": [], "error": said})
    assert heard.error is not None
    assert (heard.error.param, heard.error.openai()["type"]) == ("input", "invalid_request_error")
    assert failed_response({"error": said}, heard.error)["error"] == said
    told = {"code": "misalignment_policy_violation", "message": "No.", "type": "invalid_request_error", "param": "input"}
    assert failed_response({"error": None}, heard.error)["error"] == told

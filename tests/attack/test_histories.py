"""Histories and other members of a request on which reading, translating or reporting could take quadratic time: each row is one kind.

A row runs all that is done with the body on its way to one upstream: what the caller's shape reads, what the upstream's writes and its
rules change, and the report. What is refused is refused as soon. A request of `size` holds about so many of what the row is about.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from dragoman.codecs import errors, jsontext, reasoning, rules, scrub, splice
from dragoman.codecs.betas import Betas
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.carrier import Carrier
from dragoman.codecs.ledger import Ledger
from dragoman.codecs.registry import SHAPES, UPSTREAMS
from dragoman.codecs.request import Request

from .growth import assert_linear

SMALL, LARGE = 100, 500
Body = dict[str, Any]
Make = Callable[[int], Body]

USUAL = Capabilities()
ONE_SYSTEM = Capabilities(c_single_system=True)
DEVELOPERS = Capabilities(c_developer_role=True)
PLAIN = Capabilities(c_alternate=True, c_user_after_tool=False, c_single_system=True)
CLAUDE = Capabilities(
    v_reasoning="thinking",
    v_cache_points=4,
    v_cache_tools=True,
    v_code="code",
    v_web_search="search",
    m_mid_system=True,
    v_system_inside=True,
)
GOOGLE = Capabilities(g_tools_mixed=False, g_signatures="required")
CLASSIC = Capabilities(g_json_schema=False)
NO_REFS = Capabilities(schema_subset=("no_refs",))
NO_UNION = Capabilities(schema_subset=("no_root_union",))


# ---- chat ----

ASKS = {"role": "user", "content": "go"}
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}


def chat(*messages: Body, **more: Any) -> Body:
    return {"model": "m", "messages": list(messages), **more}


def called(*numbers: int) -> Body:
    calls = [{"id": f"call_{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in numbers]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def answered(number: int) -> Body:
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": "ok"}


def says(role: str, size: int, kind: str = "") -> list[Body]:
    return [{"role": role, "content": [{"type": kind, "text": f"{n}"}] if kind else f"{n}"} for n in range(size)]


def legacy(size: int, name: str) -> Body:
    calls = [{"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}} for _ in range(size)]
    return chat(ASKS, *calls, *({"role": "function", "name": name, "content": "ok"} for _ in range(size)), functions=[{"name": "f"}])


def signed_beside(size: int) -> Body:
    """Signatures of calls that another gateway tells in the details of the reasoning."""
    entry = {"type": "reasoning.encrypted", "format": "google-gemini-v1", "data": "c2ln"}
    said = called(*range(size)) | {"reasoning_details": [entry | {"id": f"call_{n}"} for n in range(size)]}
    return chat(ASKS, said, *map(answered, range(size)))


# ---- messages ----


def messages(*given: Body, **more: Any) -> Body:
    return {"model": "m", "max_tokens": 100, "messages": list(given), **more}


def user(*blocks: Body) -> Body:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Body) -> Body:
    return {"role": "assistant", "content": list(blocks)}


def text(**more: Any) -> Body:
    return {"type": "text", "text": "a", **more}


def use(number: int) -> Body:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": "f", "input": {}}


def result(number: int) -> Body:
    return {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": "ok"}


def tool(number: int, **more: Any) -> Body:
    return {"name": f"f{number}", "input_schema": {"type": "object"}, **more}


def document(**more: Any) -> Body:
    return {"type": "document", "title": "a", "source": {"type": "text", "media_type": "text/plain", "data": "a"}, **more}


def thought(payload: Body) -> Body:
    """A thinking block with an envelope of the gateway."""
    signature = reasoning.ENVELOPE + urlsafe_b64encode(jsontext.dumps({"u": "d"} | payload)).decode()
    return {"type": "thinking", "thinking": "", "signature": signature}


CARRIER = thought({"k": "g", "f": "google", "v": "c2ln"})


def opaque(size: int) -> Body:
    entries = [{"type": "reasoning.encrypted", "format": "reasoning_opaque", "data": f"{n}"} for n in range(size)]
    return messages(ASKS, assistant(thought({"k": "d", "d": entries}), text()), ASKS)


def named(kind: str, number: int) -> Body:
    return {"type": kind, "tool": {"type": "tool_reference", "name": f"f{number}"}}


def defined(number: int) -> Body:
    return {"type": "tool_addition", "tool": {"type": "custom", "definition": tool(number)}}


def changing(size: int, *kinds: str) -> Body:
    changes = [named(kind, n) for n in range(size) for kind in kinds]
    return messages(ASKS, {"role": "system", "content": changes}, ASKS, tools=[tool(n) for n in range(size)])


def compacted(size: int) -> Body:
    compaction = {"type": "compaction", "content": "s", "tool_changes": [named("tool_removal", 0)]}
    return messages(ASKS, *[assistant(compaction)] * size, ASKS, tools=[tool(n) for n in range(size)])


# ---- responses ----


def responses(*items: Body, **more: Any) -> Body:
    return {"model": "m", "input": list(items), **more}


def call(number: int) -> Body:
    return {"type": "function_call", "call_id": f"call_{number}", "name": "f", "arguments": "{}"}


def output(number: int | None) -> Body:
    named = {"name": "f"} if number is None else {"call_id": f"call_{number}"}
    return {"type": "function_call_output", "output": "ok"} | named


# ---- gemini ----


def gemini(*contents: Body, **more: Any) -> Body:
    return {"contents": [{"role": "user", "parts": [{"text": "u"}]}, *contents], **more}


def model(*parts: Body) -> Body:
    return {"role": "model", "parts": list(parts)}


def same_id(size: int) -> Body:
    calls = [{"functionCall": {"id": "a", "name": "f", "args": {}}}] * size
    results = [{"functionResponse": {"id": "a", "name": "f", "response": {"output": "ok"}}}] * size
    return gemini(model(calls[0]), user() | {"parts": [{"text": "u"}]}, model(*calls), {"role": "user", "parts": results})


# ---- schemas of tools ----


def schemas(*given: Body) -> Body:
    return messages(ASKS, tools=[tool(n, strict=True) | {"input_schema": {"type": "object", **one}} for n, one in enumerate(given)])


def doubling(levels: int) -> Body:
    """2 ** levels schemas, once references are replaced by what they name."""
    inner = [{"type": "object", "properties": {key: {"$ref": f"#/$defs/{n + 1}"} for key in "ab"}} for n in range(levels)]
    return {"properties": {"a": {"$ref": "#/$defs/0"}}, "$defs": {str(n): one for n, one in enumerate([*inner, {"type": "string"}])}}


def long_target(size: int) -> Body:
    """A long text to which many references lead."""
    properties = {f"p{n}": {"$ref": "#/$defs/a"} for n in range(size)}
    return schemas({"properties": properties, "$defs": {"a": {"type": "string", "description": "a" * 40 * size}}})


def wide_target(size: int) -> Body:
    """A large object to which many references lead, each spelled in its own way."""
    large = {"type": "object", "properties": {f"q{n}": {"type": "string"} for n in range(size)}, "required": [f"q{n}" for n in range(size)]}
    properties = {f"p{n}": {"$ref": f"#{n}/$defs/a"} for n in range(size)}
    return schemas({"properties": properties, "required": list(properties), "$defs": {"a": large}})


def parts_of(keyword: str, size: int) -> Body:
    return schemas({keyword: [{"properties": {f"p{n}": {"type": "string"}}, "required": [f"p{n}"]} for n in range(size)]})


def targets_of(keyword: str, size: int) -> Body:
    large = {"type": "object", "properties": {f"q{n}": {"type": "string"} for n in range(size)}}
    return schemas({keyword: [{"$ref": "#/$defs/a"}] * size, "$defs": {"a": large}})


class Row(NamedTuple):
    shape: str
    make: Make
    upstream: str
    capabilities: Capabilities = USUAL
    small: int = SMALL


ROWS = {
    # one row for each kind of history that once took quadratic time, or longer
    "unknown members": Row("chat", lambda n: chat(ASKS, **{f"x{i}": 1 for i in range(n)}), "messages"),
    "unknown members inside": Row("chat", lambda n: chat(ASKS | {f"x{i}": 1 for i in range(n)}), "messages"),
    "functions of one name": Row("chat", lambda n: legacy(n, "f"), "responses", small=LARGE),
    "functions of another name": Row("chat", lambda n: legacy(n, "g"), "responses", small=LARGE),
    "late results": Row(
        "messages",
        lambda n: messages(ASKS, assistant(*map(use, range(n))), *(one for i in range(n) for one in (user(result(i), text()),))),
        "chat",
    ),
    "late outputs": Row(
        "responses", lambda n: responses(*says("user", 1), *map(call, range(n)), *says("user", n), *map(output, range(n))), "chat"
    ),
    "reversed outputs": Row("responses", lambda n: responses(*map(call, range(n)), *map(output, reversed(range(n)))), "messages"),
    "outputs without ids": Row("responses", lambda n: responses(*(one for i in range(n) for one in (call(i), output(None)))), "chat"),
    "instructions first": Row("responses", lambda n: responses(*says("system", n), *says("user", 1)), "chat"),
    "instructions first, of developers": Row("responses", lambda n: responses(*says("system", n), *says("user", 1)), "chat", DEVELOPERS),
    "instructions between": Row(
        "responses",
        lambda n: responses(*(one for i in range(n) for one in (*says("user", 1), *says("system", 1)))),
        "chat",
        ONE_SYSTEM,
    ),
    "instructions with marks": Row("messages", lambda n: messages(ASKS, system=[text(**EPHEMERAL)] * n), "converse", CLAUDE, small=LARGE),
    "answers in pieces": Row("messages", lambda n: messages(ASKS, *[assistant(text())] * n, ASKS), "chat"),
    "texts of an answer": Row("messages", lambda n: messages(ASKS, assistant(*[text()] * n), ASKS), "chat"),
    "instructions everywhere, carried": Row(
        "chat", lambda n: chat(*(one for i in range(n) for one in (*says("system", 1), *says("user", 1)))), "chat", PLAIN
    ),
    "users in a row, carried": Row("chat", lambda n: chat(*says("user", 2 * n, "text")), "chat", PLAIN, small=LARGE),
    "users behind a result, carried": Row("chat", lambda n: chat(ASKS, called(0), answered(0), *says("user", n)), "chat", PLAIN),
    "carriers of seals": Row("messages", lambda n: messages(ASKS, assistant(*[CARRIER] * n, *map(use, range(n)))), "gemini"),
    "opaque seals": Row("messages", opaque, "chat", Capabilities(reasoning_domain="d")),
    "seals beside calls": Row("chat", signed_beside, "gemini", GOOGLE),
    "tools added": Row("messages", lambda n: messages(ASKS, {"role": "system", "content": [*map(defined, range(n))]}, ASKS), "chat"),
    "tools removed": Row("messages", lambda n: changing(n, "tool_removal"), "responses"),
    "tools removed and added": Row("messages", lambda n: changing(n, "tool_removal", "tool_addition"), "converse", CLAUDE),
    "compactions": Row("messages", compacted, "converse", CLAUDE, small=LARGE),
    "tools that are refused, carried": Row(
        "responses",
        lambda n: responses(tools=[{"type": kind, "name": f"{i}"} for i in range(n) for kind in ("a", "function")]),
        "responses",
        Capabilities(r_tools=("function",)),
    ),
    "one id for all calls": Row("gemini", same_id, "chat"),
    "chunks of an answer": Row("gemini", lambda n: gemini(*[model({"text": "a"})] * n), "chat"),
    "searches before a function": Row(
        "messages",
        lambda n: messages(ASKS, tools=[*({"type": "web_search_20250305", "name": "web_search"} for _ in range(4 * n)), tool(0)]),
        "gemini",
        GOOGLE,
    ),
    "codes behind tools": Row(
        "messages",
        lambda n: messages(ASKS, tools=[*map(tool, range(n)), *[{"type": "code_execution_20250522", "name": "c"}] * n]),
        "converse",
        CLAUDE,
        small=LARGE,
    ),
    "cited documents": Row("messages", lambda n: messages(user(text(), *[document(citations={"enabled": True})] * n)), "converse", CLAUDE),
    "documents of one name": Row("messages", lambda n: messages(user(text(), *[document()] * n)), "converse"),
    "documents with marks": Row("messages", lambda n: messages(user(text(), *[document(**EPHEMERAL)] * n)), "converse", CLAUDE),
    "marks": Row("messages", lambda n: messages(user(*[text(**EPHEMERAL)] * n)), "converse", CLAUDE, small=LARGE),
    # schemas
    "a long target": Row("messages", long_target, "chat", NO_REFS),
    "a long target, classic": Row("messages", long_target, "gemini", CLASSIC),
    "a wide target": Row("messages", wide_target, "gemini", small=20),
    "a wide target, strict": Row("chat", lambda n: _as_functions(wide_target(n)), "messages", small=20),
    "parts of a schema": Row("messages", lambda n: parts_of("allOf", n), "gemini", CLASSIC, small=LARGE),
    "parts of a schema that are one": Row("messages", lambda n: targets_of("allOf", n), "gemini", CLASSIC),
    "alternatives that are one": Row("messages", lambda n: targets_of("anyOf", n), "chat", NO_UNION),
}


def _as_functions(body: Body) -> Body:
    """The tools of a messages body as those of a chat body."""
    functions = [{"name": one["name"], "strict": True, "parameters": one["input_schema"]} for one in body["tools"]]
    return chat(ASKS, tools=[{"type": "function", "function": one} for one in functions])


def _passed(row: Row, body: Body) -> None:
    ledger = Ledger()
    try:
        ledger = _carried(row, body) if row.shape == row.upstream else _translated(row, body)
    except errors.ClientFault:
        pass
    for entries in (ledger.dropped, ledger.adapted):
        ledger.header(entries, body)


def _translated(row: Row, body: Body) -> Ledger:
    request = SHAPES[row.shape].decode_request(body)
    jsontext.dumps(UPSTREAMS[row.upstream].encode_request(request, row.capabilities, "m").body)
    return request.ledger


def _carried(row: Row, body: Body) -> Ledger:
    shape, ledger, own = SHAPES[row.shape], Ledger(), dict(body)
    scrub.scrub(shape.scrub, own, row.capabilities, ledger)
    request = Request(row.shape, "m", own, ledger=ledger)
    rules.amended(rules.for_carried(shape.rules, row.capabilities), shape.Draft(own, request, row.capabilities, own=True))
    return ledger


@pytest.mark.parametrize("name", ROWS)
def test_costs(name: str) -> None:
    row = ROWS[name]
    assert_linear(row.make, lambda body: _passed(row, body), row.small)


def test_a_model_named_many_times() -> None:
    def make(size: int) -> bytes:
        return jsontext.dumps({"requests": [{"model": "models/a", f"{n}:": n} for n in range(size)]})

    assert_linear(make, lambda body: SHAPES["gemini"].rename(body, splice.scan(body), "b"), SMALL)


def test_betas_of_the_body_and_of_the_header() -> None:
    def make(size: int) -> tuple[Body, dict[str, str]]:
        asked = [f"a{n}" for n in range(size)]
        return {"anthropic_beta": [f"b{n}" for n in range(size)]}, {"anthropic-beta": ",".join(asked)}

    carrier = Carrier(name="a", whole="/a", version="v")
    assert_linear(make, lambda given: carrier.parcel(*given, Betas(("*",))), SMALL)


def test_what_references_lead_to_is_bounded_for_all_tools_together() -> None:
    """A schema of a few lines can stand for thousands of millions."""
    for upstream, capabilities in (("chat", NO_REFS), ("gemini", CLASSIC)):
        few = SHAPES["messages"].decode_request(schemas(*[doubling(8)] * 8))
        assert UPSTREAMS[upstream].encode_request(few, capabilities, "m").body["tools"]
        for large in ([doubling(14)] * 8, [doubling(30)]):
            many = SHAPES["messages"].decode_request(schemas(*large))
            with pytest.raises(errors.Unsupported, match="too large"):
                UPSTREAMS[upstream].encode_request(many, capabilities, "m")

"""What callers ask that is not usual, by name: each is played towards every model."""

from __future__ import annotations

from typing import Any

from dragoman.codecs.specimens import PDF, PNG

from .situations import (
    CLOSED,
    DOCUMENT,
    IMAGE,
    IMAGE_URL,
    SCHEMA,
    TEXT,
    URL,
    Situation,
    call,
    developer,
    results,
    said,
    system,
    tool,
    user,
)

JSON = dict[str, Any]
PICTURE, LINK, PAPER = (IMAGE, PNG), (IMAGE_URL, URL), (DOCUMENT, PDF)
TOOLS = (tool("weather"), tool("places"))
CALLED = (user(), said(None, call()))
DONE = (*CALLED, results(("call_1", "sunny")))
OVER = (*DONE, said("It is."), user("And tomorrow?"))


def after(*found: Any, calls: int = 1, tools: Any = TOOLS, **settings: Any) -> Situation:
    """A call or more, and what came of them."""
    made = [call(f"call_{n}", ("weather", "places")[n % 2]) for n in range(1, calls + 1)]
    return Situation((user(), said(None, *made), results(*found)), tools, settings)


def asked(*turns: Any, tools: Any = (), own: Any = None, only: Any = None, **settings: Any) -> Situation:
    more = {} if only is None else {"only": only}
    return Situation(turns or (user(),), tools, settings, own or {}, **more)


def named(id: str) -> Situation:
    return Situation((user(), said(None, call(id)), results((id, "sunny"))), TOOLS)


def bound(name: str) -> Situation:
    """A tool of this name, called before."""
    return Situation((user(), said(None, call("call_1", name)), results(("call_1", "sunny"))), (tool(name), tool("places")))


def shaped(schema: Any, **more: Any) -> Situation:
    return Situation((user(),), (tool("weather", schema, **more), tool("places")))


def referring(at: JSON, definitions: JSON) -> JSON:
    return {"type": "object", "properties": {"a": at}, **definitions}


def argued(arguments: str) -> Situation:
    return Situation((user(), said(None, call("call_1", "weather", arguments)), results(("call_1", "sunny"))), TOOLS)


OBJECT: JSON = {"type": "object", "properties": {"a": {"type": "string"}}}
LONG = "mcp__" + "a_rather_long_name_of_a_server__" * 3 + "and_a_tool"
CHAT, MESSAGES, RESPONSES, GEMINI = ("chat",), ("messages",), ("responses",), ("gemini",)
MARK: JSON = {"type": "ephemeral"}
LONGER: JSON = {"type": "ephemeral", "ttl": "1h"}


def _marked(text: str, mark: Any = None) -> JSON:
    return {"type": "text", "text": text, "cache_control": mark or MARK}


# broken by every API's book: sent as they are, and the provider says what is wrong (translations: "no pairing repair")
BROKEN = frozenset({"a result is missing", "no result", "a call is last", "a result without a call", "a result first"})

# broken by the book of the caller's own API, for every model that is called by it: what its provider says of it is right. All else is
# left out, said otherwise or refused by name before it is sent, or learned from one refusal
PAIRS = BROKEN | {"a result comes late", "a result comes twice", "one id for two calls", "two answers with calls"}
PAIRS |= {"system between call and result", "a forced tool that there is not"}
NAMES = {f"name {name[:16]}" for name in ("a b", "größe", "a:b/c")}
LONG_NAMES = {f"name {LONG[:16]}", "two names that are one when cut"}
BY_THE_BOOK: dict[str, frozenset[str]] = {
    # texts alone are a result; names are letters, digits, `_` and `-`, at most 64
    "chat": frozenset(
        {*PAIRS, *NAMES, *LONG_NAMES, "name a.b", "a PDF in a result", "a PDF alone in a result", "a PDF in a result, long ago"}
    ),
    # content is never empty, arguments are objects
    "messages": frozenset({*PAIRS, *NAMES, "name a.b", "an empty user", "a blank user", "arguments '[1]'", "arguments '\"x\"'"}),
    "responses": frozenset(PAIRS),
    # Google's models share one subset of JSON Schema
    "gemini": frozenset(
        {*PAIRS, *NAMES, *LONG_NAMES, "name 7zip", "system alone", "developer alone", "choice without tools", "choice none without tools"}
        | {"an object of nothing", "an empty schema", "old definitions", "types and keywords", "an image's address in a result"}
    ),
}

UNUSUAL: dict[str, Situation] = {
    "nothing": asked(),
    # ---- who speaks, and when ----
    "a system message": asked(system("Be brief."), user()),
    "two system messages": asked(system("Be brief."), system("Be kind."), user()),
    "a developer's message": asked(developer("Be brief."), user()),
    "system and developer": asked(system("Be brief."), developer("Be kind."), user()),
    "system in the middle": asked(user(), said("Yes."), user("Sure?"), system("Be brief."), said("Sure."), user("Really?")),
    "developer in the middle": asked(user(), said("Yes."), developer("Be brief."), user("Really?")),
    "system at the end": asked(user(), said("Yes."), user("Sure?"), system("Be brief.")),
    "system after an answer": asked(user(), said("Yes."), system("Be brief.")),
    "two systems in the middle": asked(user(), said("A"), user("Sure?"), system("Be brief."), system("Be kind."), said("S"), user("R?")),
    "system between call and result": asked(*CALLED, system("Be brief."), results(("call_1", "sunny")), tools=TOOLS),
    "system after results": asked(*DONE, system("Be brief."), tools=TOOLS),
    "system alone": asked(system("Be brief.")),
    "developer alone": asked(developer("Be brief.")),
    "system alone in messages": asked(only=MESSAGES, own={"messages": {"messages": [{"role": "system", "content": "Be brief."}]}}),
    "two users": asked(user("Hi."), user("Is it sunny?")),
    "two answers": asked(user(), said("Yes."), said("It is."), user("Sure?")),
    "an answer first": asked(said("Hello."), user()),
    "an answer last": asked(user(), said("It is")),
    "an answer last, thinking": asked(user(), said("It is"), effort="medium"),
    "an answer last, with a space": asked(user(), said("It is ")),
    "an empty answer last": asked(user(), said("")),
    "an answer last, with tools": asked(user(), said("It is"), tools=TOOLS),
    "an answer last, after results": asked(*DONE, said("It is"), tools=TOOLS),
    "an answer alone": asked(said("Hello.")),
    "user after results": asked(*DONE, user("Go on."), tools=TOOLS),
    "three turns": asked(*OVER, said("Rain."), user("And then?"), tools=TOOLS),
    # ---- nothing said ----
    "an empty user": asked(user("")),
    "an empty user in the middle": asked(user(), said("Yes."), user(""), said("What?"), user("Sure?")),
    "a blank user": asked(user(" \n")),
    "an empty text part": asked(user([(TEXT, ""), (TEXT, "Is it sunny?")])),
    "an empty part beside an image": asked(user([(TEXT, ""), PICTURE])),
    "an empty answer": asked(user(), said(""), user("Well?")),
    "an answer of nothing": asked(user(), said(None), user("Well?"), only=CHAT),
    "no content": asked(user(), user([]), user("Well?"), only=("messages", "responses")),
    "an empty system": asked(system(""), user()),
    "an empty result": after(("call_1", "")),
    "a result of nothing": after(("call_1", []), tools=TOOLS),
    "empty text before a call": asked(user(), said("", call()), results(("call_1", "sunny")), tools=TOOLS),
    "blank text before a call": asked(user(), said("\n\n", call()), results(("call_1", "sunny")), tools=TOOLS),
    # ---- calls and results ----
    "history of tools, no tools": asked(*DONE),
    "history of tools over, no tools": asked(*OVER),
    "history of tools, others now": asked(*OVER, tools=(tool("else"),)),
    "history of tools, choice none": asked(*DONE, tools=TOOLS, choice="none"),
    "choice without tools": asked(choice="auto"),
    "choice none without tools": asked(choice="none"),
    "parallel without tools": asked(parallel=True),
    "no tools": asked(own={shape: {"tools": []} for shape in ("chat", "messages", "responses", "gemini")}),
    "an error": asked(*CALLED, results(("call_1", "it failed", True)), tools=TOOLS),
    "an error of nothing": asked(*CALLED, results(("call_1", "", True)), tools=TOOLS),
    "an error with an image": asked(*CALLED, results(("call_1", [(TEXT, "it failed"), PICTURE], True)), tools=TOOLS),
    "an image in a result": after(("call_1", [(TEXT, "see"), PICTURE])),
    "an image alone in a result": after(("call_1", [PICTURE])),
    "an image's address in a result": after(("call_1", [(TEXT, "see"), LINK])),
    "a PDF in a result": after(("call_1", [(TEXT, "see"), PAPER])),
    "a PDF alone in a result": after(("call_1", [PAPER])),
    "images in two results": after(("call_1", [PICTURE]), ("call_2", [(TEXT, "b"), PICTURE]), calls=2),
    "an image in a result, and a word": asked(*CALLED, results(("call_1", [PICTURE])), user("What is it?"), tools=TOOLS),
    "a PDF in a result, long ago": asked(*CALLED, results(("call_1", [PAPER])), said("Seen."), user("And?"), tools=TOOLS),
    "two results": after(("call_1", "a"), ("call_2", "b"), calls=2),
    "results in another order": after(("call_2", "b"), ("call_1", "a"), calls=2),
    "a result is missing": after(("call_1", "a"), calls=2),
    "no result": asked(*CALLED, user("Never mind."), tools=TOOLS),
    "a call is last": asked(*CALLED, tools=TOOLS),
    "a result without a call": asked(user(), said("Yes."), results(("call_9", "a")), tools=TOOLS),
    "a result first": asked(results(("call_9", "a")), tools=TOOLS),
    "a result comes late": asked(*CALLED, user("Wait."), results(("call_1", "a")), tools=TOOLS),
    "a result comes twice": asked(*DONE, results(("call_1", "again")), tools=TOOLS),
    "an id comes again": asked(*DONE, said(None, call()), results(("call_1", "sunny")), tools=TOOLS),
    "one id for two calls": asked(user(), said(None, call("a"), call("a", "places")), results(("a", "1"), ("a", "2")), tools=TOOLS),
    "calls one by one": asked(*DONE, said(None, call("call_2", "places")), results(("call_2", "Oslo")), tools=TOOLS),
    "text and a call": asked(user(), said("I look.", call()), results(("call_1", "sunny")), tools=TOOLS),
    "two answers with calls": asked(
        user(), said("I look.", call()), said(None, call("call_2", "places")), results(("call_1", "a"), ("call_2", "b")), tools=TOOLS
    ),
    **{f"arguments {text!r}": argued(text) for text in ("", "{}", "null", "[1]", '"x"', "{", '{"a": NaN}')},
    # ---- ids and names ----
    **{
        f"id {id[:24]}": named(id)
        for id in (
            "toolu_01A09q90qw90lq917835lq9",
            "call_4MkX2v9yTr8sQpLwBzHnKcDf",
            "fc_68af52b1a9c481",
            "D681PevKs",
            "chatcmpl-tool-0f1e2d3c4b5a6978",
            "call_1|fc_2",
            "functions.weather:0",
            "srvtoolu_01",
            "a" * 80,
            "tooluse_Zx-9_",
            "ö",
            "weather_0",
        )
    },
    **{f"name {name[:16]}": bound(name) for name in (LONG, "7zip", "a.b", "a-b", "mcp__x__y", "_x", "a b", "größe", "A" * 64, "a:b/c")},
    "two names that are one when cut": Situation((user(),), (tool(LONG + "1"), tool(LONG + "2"))),
    "130 tools": Situation((user(),), tuple(tool(f"t{n}") for n in range(130))),
    # ---- schemas ----
    "no parameters": shaped(None),
    "an object of nothing": shaped({"type": "object"}),
    "properties of nothing": shaped({"type": "object", "properties": {}}),
    "an empty schema": shaped({}),
    "anyOf at the root": shaped({"anyOf": [OBJECT, {"type": "object", "properties": {}}]}),
    "allOf at the root": shaped({"type": "object", "allOf": [{"properties": {"a": {"type": "string"}}}]}),
    "a reference": shaped(referring({"$ref": "#/$defs/A", "description": "x"}, {"$defs": {"A": {"type": "string"}}})),
    "old definitions": shaped(referring({"$ref": "#/definitions/A"}, {"definitions": {"A": {"type": "string"}}})),
    "a reference to itself": shaped(
        referring({"$ref": "#/$defs/A"}, {"$defs": {"A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/A"}}}}})
    ),
    "types and keywords": shaped(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "a": {"type": ["string", "null"], "minLength": 1, "maxLength": 3000, "pattern": "^\\d+$"},
                "b": {"type": "array"},
                "c": {"type": "object"},
                "d": {"const": 1},
                "e": {"type": "integer", "exclusiveMinimum": 0},
                "f": True,
                "g": {"type": "object", "propertyNames": {"pattern": "^a"}, "additionalProperties": {"type": "string"}},
                "h": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
                "i": {"enum": ["a", None]},
            },
            "additionalProperties": False,
        }
    ),
    "a strict tool": Situation((user(),), (tool("weather", CLOSED, strict=True), tool("places")), only=("chat", "messages", "responses")),
    "a strict tool of nothing": Situation(
        (user(),),
        (tool("weather", {"type": "object", "properties": {}, "additionalProperties": False}, strict=True),),
        only=("chat", "responses"),
    ),
    # ---- what is asked for ----
    "structured": asked(user("JSON, please."), schema=SCHEMA),
    "structured, strict": asked(user("JSON, please."), strict_schema=CLOSED),
    "structured with bounds": asked(
        user("JSON, please."),
        schema={"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2}}},
    ),
    "structured, an array at the root": asked(user("JSON, please."), schema={"type": "array", "items": {"type": "string"}}),
    "structured with tools": asked(user("JSON, please."), tools=TOOLS, schema=CLOSED),
    "structured after results": asked(*DONE, tools=TOOLS, schema=CLOSED),
    "structured, thinking": asked(user("JSON, please."), schema=CLOSED, effort="high"),
    "JSON": asked(user("JSON, please."), json=True),
    "JSON, not said": asked(json=True),
    "JSON with tools": asked(user("JSON, please."), tools=TOOLS, json=True),
    **{f"effort {effort}": asked(effort=effort) for effort in ("none", "minimal", "low", "high", "xhigh", "max")},
    **{f"effort {effort}, tools": asked(*DONE, tools=TOOLS, effort=effort) for effort in ("none", "high")},
    "effort none over responses with a summary": asked(effort="none", summary="auto", only=RESPONSES),
    "a summary alone": asked(summary="detailed"),
    "a budget": asked(budget=2000),
    "a small budget": asked(budget=10),
    "a budget above the limit": asked(budget=5000, max=2000),
    "temperature": asked(temperature=0.3),
    "temperature 0": asked(temperature=0),
    "temperature 2": asked(temperature=2),
    "temperature and top_p": asked(temperature=0.3, top_p=0.9),
    "temperature, thinking": asked(temperature=0.3, effort="medium"),
    "temperature, thinking off": asked(temperature=0.3, effort="none"),
    "top_p, thinking": asked(top_p=0.5, effort="medium"),
    "top_k": asked(top_k=40),
    "top_k, thinking": asked(top_k=40, effort="medium"),
    "a tool is forced": asked(tools=TOOLS, choice="weather"),
    "a tool is forced, thinking": asked(tools=TOOLS, choice="weather", effort="high"),
    "a tool is forced, thinking off": asked(tools=TOOLS, choice="weather", effort="none"),
    "any tool is forced": asked(tools=TOOLS, choice="required"),
    "any tool is forced, thinking": asked(tools=TOOLS, choice="required", effort="high"),
    "any tool is forced, a budget": asked(tools=TOOLS, choice="required", budget=2000),
    "a tool is forced after results": asked(*DONE, tools=TOOLS, choice="places"),
    "a forced tool that there is not": asked(tools=TOOLS, choice="else"),
    "no parallel calls": asked(tools=TOOLS, parallel=False),
    "no parallel calls, forced": asked(tools=TOOLS, parallel=False, choice="required", only=("chat", "responses")),
    "no limit": asked(only=("chat", "responses", "gemini")),
    "a limit of 1": asked(max=1),
    "a great limit": asked(max=1_000_000),
    "the old limit": asked(old_max=500),
    "one stop": asked(stop=["END"]),
    "six stops": asked(stop=list("ABCDEF")),
    "an empty stop": asked(stop=[]),
    "a blank stop": asked(stop=["\n\n"]),
    "n": asked(n=2),
    "seed": asked(seed=7),
    "penalties": asked(penalties=0.5),
    "penalties of 0": asked(penalties=0),
    "bias": asked(bias={"50256": -100}),
    "logprobs": asked(logprobs=2),
    "logprobs, thinking": asked(logprobs=2, effort="high"),
    **{f"tier {tier}": asked(tier=tier) for tier in ("auto", "default", "flex", "priority", "fast", "standard_only", "scale")},
    "metadata": asked(metadata={"a": "b"}),
    "user": asked(user="u-1"),
    "safety identifier": asked(safety="u-1"),
    "cache key": asked(cache_key="k", retention="24h"),
    "store": asked(store=True),
    "store not": asked(store=False),
    "verbosity": asked(verbosity="low"),
    "text only": asked(modalities=["text"]),
    "prediction": asked(prediction="It is sunny."),
    "truncation": asked(truncation="auto"),
    # ---- images and files ----
    "an image": asked(user([(TEXT, "What?"), PICTURE])),
    "an image's address": asked(user([(TEXT, "What?"), LINK])),
    "an image alone": asked(user([PICTURE])),
    "nine images": asked(user([(TEXT, "What?"), *[PICTURE] * 9])),
    "a PDF": asked(user([(TEXT, "What?"), PAPER])),
    "an image long ago": asked(user([PICTURE]), said("A cat."), user("Sure?")),
    # ---- thoughts, and their seals ----
    "a thought of elsewhere": asked(user(), said("Yes.", thought=("Hm.", "c2lnLWVsc2V3aGVyZQ==")), user("Sure?")),
    "a thought of elsewhere before a call": asked(
        user(), said(None, call(), thought=("Hm.", "c2lnLWVsc2V3aGVyZQ==")), results(("call_1", "sunny")), tools=TOOLS
    ),
    "the same, thinking": asked(
        user(), said(None, call(), thought=("Hm.", "c2lnLWVsc2V3aGVyZQ==")), results(("call_1", "sunny")), tools=TOOLS, effort="high"
    ),
    "the same, thinking off": asked(
        user(), said(None, call(), thought=("Hm.", "c2lnLWVsc2V3aGVyZQ==")), results(("call_1", "sunny")), tools=TOOLS, effort="none"
    ),
    "a call without its thought, thinking": asked(*DONE, tools=TOOLS, effort="high"),
    "a call without its thought, a budget": asked(*DONE, tools=TOOLS, budget=2000),
    "a thought without a seal": asked(user(), said("Yes.", thought=("Hm.", "")), user("Sure?"), only=("messages", "chat")),
    "a thought without a seal before a call": asked(
        user(), said(None, call(), thought=("Hm.", "")), results(("call_1", "sunny")), tools=TOOLS, only=("messages", "chat"), effort="high"
    ),
    "a thought alone": asked(user(), said(None, thought=("Hm.", "c2ln")), user("Sure?"), only=("messages", "responses")),
    "a redacted thought": asked(
        only=MESSAGES,
        own={
            "messages": {
                "messages": [
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "opaque"}, {"type": "text", "text": "Yes."}]},
                    {"role": "user", "content": "Sure?"},
                ]
            }
        },
    ),
    "reasoning by its id": asked(
        only=RESPONSES,
        own={
            "responses": {
                "store": False,
                "input": [
                    {"role": "user", "content": "q"},
                    {"type": "reasoning", "id": "rs_1", "summary": []},
                    {"role": "assistant", "content": "Yes."},
                    {"role": "user", "content": "Sure?"},
                ],
            }
        },
    ),
    "reasoning without its item": asked(
        only=RESPONSES,
        own={
            "responses": {
                "store": False,
                "input": [
                    {"role": "user", "content": "q"},
                    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"},
                    {"role": "user", "content": "Sure?"},
                ],
            }
        },
    ),
    "details of reasoning": asked(
        *DONE[:1],
        only=CHAT,
        tools=TOOLS,
        own={
            "chat": {
                "messages": [
                    {"role": "user", "content": "q"},
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
                        "reasoning": "Hm.",
                        "reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "format": "google-gemini-v1", "index": 0}],
                    },
                    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
                ]
            }
        },
    ),
    # ---- marks of the prompt cache ----
    "six marks": asked(
        only=MESSAGES,
        own={
            "messages": {
                "system": [_marked("a"), _marked("b"), _marked("c")],
                "messages": [{"role": "user", "content": [_marked("d"), _marked("e"), _marked("f")]}],
            }
        },
    ),
    "marks out of order": asked(
        only=MESSAGES,
        own={"messages": {"system": [_marked("a")], "messages": [{"role": "user", "content": [_marked("d", LONGER)]}]}},
    ),
    "a mark on nothing": asked(
        only=MESSAGES,
        own={"messages": {"system": [_marked("")], "messages": [{"role": "user", "content": [_marked(""), _marked("d")]}]}},
    ),
    "a mark on a thought": asked(
        only=MESSAGES,
        own={
            "messages": {
                "messages": [
                    {"role": "user", "content": "q"},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "Hm.", "signature": "sig", "cache_control": MARK},
                            {"type": "text", "text": "Yes."},
                        ],
                    },
                    {"role": "user", "content": "Sure?"},
                ]
            }
        },
    ),
    "a mark for all": asked(cached=MARK),
    "marks in chat": asked(
        only=CHAT,
        own={
            "chat": {
                "messages": [
                    {"role": "system", "content": [_marked("a")]},
                    {"role": "user", "content": [_marked("b"), {"type": "text", "text": "c"}]},
                ]
            }
        },
    ),
    # ---- what only one API has ----
    "names of people": asked(only=CHAT, own={"chat": {"messages": [{"role": "user", "name": "Ann", "content": "q"}]}}),
    "a refusal": asked(
        only=CHAT,
        own={
            "chat": {
                "messages": [
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": None, "refusal": "No."},
                    {"role": "user", "content": "w"},
                ]
            }
        },
    ),
    "old functions": asked(
        only=CHAT,
        own={
            "chat": {
                "functions": [{"name": "weather", "parameters": SCHEMA}],
                "function_call": "auto",
                "messages": [
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
                    {"role": "function", "name": "weather", "content": "sunny"},
                ],
            }
        },
    ),
    "members of nothing": asked(
        only=CHAT,
        own={
            "chat": {
                "temperature": None,
                "tools": None,
                "tool_choice": None,
                "stop": None,
                "user": None,
                "n": None,
                "response_format": None,
                "logprobs": None,
                "max_tokens": None,
                "reasoning_effort": None,
            }
        },
    ),
    "unknown members": asked(own={shape: {"foo": 1} for shape in ("chat", "messages", "responses")}),
    "a search": asked(
        only=("chat", "messages", "responses"),
        own={
            "chat": {"web_search_options": {}},
            "messages": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            "responses": {"tools": [{"type": "web_search"}]},
        },
    ),
    "a custom tool": asked(
        only=("chat", "responses"),
        own={
            "chat": {"tools": [{"type": "custom", "custom": {"name": "run"}}]},
            "responses": {"tools": [{"type": "custom", "name": "run"}]},
        },
    ),
    "allowed tools": asked(
        tools=TOOLS,
        only=("chat", "responses"),
        own={
            "chat": {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]},
                }
            },
            "responses": {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]}},
        },
    ),
    "input as a text": asked(only=RESPONSES, own={"responses": {"input": "q"}}),
    "instructions": asked(system="Be brief.", only=("messages", "responses", "gemini")),
    "an output without an id": asked(
        only=RESPONSES,
        own={
            "responses": {
                "input": [
                    {"role": "user", "content": "q"},
                    {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c1", "output": "a"},
                    {"type": "function_call_output", "output": "stray"},
                ]
            }
        },
    ),
    "statuses": asked(
        only=RESPONSES,
        own={
            "responses": {
                "input": [
                    {"role": "user", "content": "q"},
                    {
                        "type": "message",
                        "role": "assistant",
                        "status": None,
                        "content": [{"type": "output_text", "text": "a", "annotations": []}],
                    },
                    {"type": "message", "role": "user", "status": "completed", "content": [{"type": "input_text", "text": "w"}]},
                ]
            }
        },
    ),
    "thinking between tools": asked(
        only=MESSAGES,
        tools=TOOLS,
        own={"messages": {"thinking": {"type": "disabled", "between_tools": True}}},
    ),
    "results and words mixed": asked(
        only=MESSAGES,
        tools=TOOLS,
        own={
            "messages": {
                "messages": [
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "weather", "input": {}}]},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "here"},
                            {"type": "tool_result", "tool_use_id": "a", "content": "x"},
                            {"type": "text", "text": "and"},
                        ],
                    },
                ]
            }
        },
    ),
    "no content in a result": asked(
        only=MESSAGES,
        tools=TOOLS,
        own={
            "messages": {
                "messages": [
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "weather", "input": {}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]},
                ]
            }
        },
    ),
}

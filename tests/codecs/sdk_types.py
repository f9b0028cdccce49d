"""Every field and variant that the vendors' SDKs know, as requests that have it and requests that lack it.

`requests` walks over the TypedDicts of an SDK's request: each is visited once, where it stands first. A name is `TypedDict` for a
variant of a union, `TypedDict.key` for an optional member, `TypedDict.key=value` for a word that a member may be. `answers` names what
an SDK knows of answers: items, blocks, deltas and events, each by its `type`.

The requests are legal by their types; what else makes one is put around it: a call gets its output and an output its call.

    python -m tests.codecs.sdk_types > tests/codecs/sdk_types.txt        # below the comment, the list of what is known
"""

from __future__ import annotations

import copy
import typing
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from anthropic.types import RawContentBlockDelta, RawMessageStreamEvent, message_create_params
from anthropic.types import beta as anthropic_beta
from anthropic.types.beta import message_create_params as beta_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import ResponseOutputItem, ResponseStreamEvent, response_create_params
from pydantic import BaseModel
from typing_extensions import is_typeddict

from dragoman.codecs import errors, jsontext
from dragoman.codecs import events as ev
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request

JSON = dict[str, Any]
Wrap = Callable[[Any], JSON]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
URL = "https://example.com/a"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
# values that must have a form: by the name of the member, in the TypedDicts named
VALUES: JSON = {
    "model": "m", "url": URL, "image_url": URL, "file_url": URL, "server_url": URL, "file_data": "data:application/pdf;base64,JVBERi0=",
    "data": PNG, "call_id": "c", "tool_use_id": "c", "tool_call_id": "c", "arguments": "{}", "name": "f", "max_tokens": 2000,
    "budget_tokens": 1024, "parameters": SCHEMA, "input_schema": SCHEMA, "schema": SCHEMA, "logit_bias": {"1": 1},
}  # fmt: skip
ROOTS: dict[str, tuple[Any, JSON]] = {
    "responses": (response_create_params.ResponseCreateParamsBase, {"model": "m", "input": "q"}),
    "chat": (completion_create_params.CompletionCreateParamsBase, {"model": "m", "messages": [{"role": "user", "content": "q"}]}),
    "messages": (
        message_create_params.MessageCreateParamsBase,
        {"model": "m", "max_tokens": 2000, "messages": [{"role": "user", "content": "q"}]},
    ),
    "messages beta": (
        beta_create_params.MessageCreateParamsBase,
        {"model": "m", "max_tokens": 2000, "messages": [{"role": "user", "content": "q"}]},
    ),
}


# what one of its optional members must say
_MORE: dict[str, JSON] = {
    **{key: {"image_url": URL} for key in ("ResponseInputImageParam", "ResponseInputImageContentParam")},
    **{key: {"call_id": "c"} for key in ("FunctionCallOutput", "ToolSearchCall", "ResponseToolSearchOutputItemParamParam")},
    "FileFile": {"file_data": VALUES["file_data"], "filename": "a.pdf"},
    "BetaCompactionBlockParam": {"content": "S"},
    **{key: {"file_data": VALUES["file_data"]} for key in ("ResponseInputFileParam", "ResponseInputFileContentParam")},
}


class Pair(NamedTuple):
    """name: of what each of `having` has and `lacking` has not."""

    name: str
    having: list[JSON]
    lacking: JSON


def requests(api: str) -> Iterator[Pair]:
    """Of the TypedDicts, those that stand higher come first."""
    root, base = ROOTS[api]
    seen = {root}
    found: deque[tuple[Any, JSON, Wrap]] = deque([(root, base, lambda value: value)])
    while found:
        kind, base, wrap = found.popleft()
        required = _required(kind)
        for key, told in get_type_hints(kind, include_extras=True).items():
            lacking = {name: value for name, value in base.items() if name != key}
            for word, values in _words(told, key):
                if word or key not in required:
                    having = [wrap(lacking | {key: value}) for value in values]
                    yield Pair(f"{kind.__name__}.{key}{word}", having, wrap(base if key in required else lacking))
            for inner, place in _dicts(told):
                if inner not in seen:
                    seen.add(inner)
                    smallest = least(inner)
                    inside = partial(_inside, wrap, lacking, key, place)
                    yield Pair(inner.__name__, [inside(smallest)], wrap(base))
                    found.append((inner, smallest, inside))


def _inside(wrap: Wrap, around: JSON, key: str, place: Callable[[Any], Any], value: Any) -> JSON:
    return wrap(around | {key: place(value)})


def _dicts(told: Any) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    """The TypedDicts that a value may be or hold, each with how it stands in it."""
    told = _bare(told)
    if is_typeddict(told):
        yield told, lambda value: value
    elif _is_list(told):
        for kind, place in _dicts(get_args(told)[0]):
            yield kind, partial(_listed, place)
    elif _is_union(told):
        for one in get_args(told):
            yield from _dicts(one)


def _listed(place: Callable[[Any], Any], value: Any) -> list[Any]:
    return [place(value)]


def _words(told: Any, key: str) -> Iterator[tuple[str, list[Any]]]:
    """What a member may be: words one by one, anything else by a value or two."""
    told = _bare(told)
    words = [word for one in _united(told) if get_origin(one) is Literal for word in get_args(one)]
    if words and key not in ("type", "role", "object", "model"):
        yield from ((f"={word}", [word]) for word in words)
    if not words:
        yield "", [True, False] if bool in _united(told) else [least(told, key)]


def least(told: Any, key: str = "") -> Any:
    """The smallest legal value."""
    told = _bare(told)
    if is_typeddict(told):
        hints = get_type_hints(told, include_extras=True)
        return {name: least(hints[name], name) for name in sorted(_required(told))} | _MORE.get(told.__name__, {})
    if _is_union(told):
        return least(next(one for one in get_args(told) if one is not type(None)), key)
    if get_origin(told) is Literal:
        return get_args(told)[0]
    if _is_list(told):
        return [least(get_args(told)[0], key)]
    if key in VALUES:
        return VALUES[key]
    if told in (int, float, bool):
        return {int: 5, float: 0.5, bool: True}[told]
    return {"k": "v"} if get_origin(told) is dict else "x"


def _required(kind: Any) -> set[str]:
    """Its required members; `Required` stands in annotations that are text, which __required_keys__ does not see."""
    hints = get_type_hints(kind, include_extras=True)
    marked = {key for key, told in hints.items() if get_origin(told) is typing.Required}
    return marked | {key for key in kind.__required_keys__ if get_origin(hints[key]) is not typing.NotRequired}


def _bare(told: Any) -> Any:
    while get_origin(told) in (typing.Annotated, typing.Required, typing.NotRequired) or hasattr(told, "__value__"):
        told = told.__value__ if hasattr(told, "__value__") else get_args(told)[0]
    return told


def _is_union(told: Any) -> bool:
    return get_origin(told) is typing.Union or type(told).__name__ == "UnionType"


def _united(told: Any) -> list[Any]:
    return [inner for one in get_args(told) for inner in _united(_bare(one))] if _is_union(told) else [told]


def _is_list(told: Any) -> bool:
    origin = get_origin(told)
    return origin is not None and origin not in (dict, Literal) and not _is_union(told) and len(get_args(told)) == 1


# ---- what must stand around it ----

_OUTPUTS = {
    "function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output", "shell_call": "shell_call_output",
    "local_shell_call": "local_shell_call_output", "apply_patch_call": "apply_patch_call_output", "tool_search_call": "tool_search_output",
}  # fmt: skip
_CALLS = {output: call for call, output in _OUTPUTS.items()}
_CALL: dict[str, JSON] = {
    "function_call": {"name": "f", "arguments": "{}"},
    "custom_tool_call": {"name": "f", "input": ""},
    "shell_call": {"action": {"commands": ["ls"]}},
    "local_shell_call": {"action": {"type": "exec", "command": ["ls"], "env": {}}},
    "apply_patch_call": {"operation": {"type": "delete_file", "path": "p"}},
    "tool_search_call": {"arguments": "{}", "execution": "client"},
}
_ASK = {"role": "user", "content": "q"}


def whole(api: str, body: JSON) -> JSON:
    """The request with what its parts need: calls and outputs in pairs, turns of a user around them, a tool to choose."""
    choice = body.get("tool_choice")
    if choice is not None and "tools" not in body:
        kind = choice.get("type", "function") if isinstance(choice, dict) else "function"
        body = body | {"tools": _TOOLS[api.split()[0]] + ([{"type": kind}] if api == "responses" and kind not in _NAMED else [])}
    if api == "responses":
        return body | {"input": _items(body["input"])} if isinstance(body.get("input"), list) else body
    return body | {"messages": [_ASK, *(_said if api == "chat" else _turns)(body["messages"]), _ASK]}


_FUNCTION = {"name": "f", "parameters": SCHEMA}
_TOOLS: dict[str, list[JSON]] = {
    "responses": [{"type": "function", **_FUNCTION}],
    "chat": [{"type": "function", "function": _FUNCTION}],
    "messages": [{"name": "f", "input_schema": SCHEMA}],
}
_NAMED = ("function", "custom", "allowed_tools")


def _items(items: list[JSON]) -> list[JSON]:
    found: list[JSON] = [_ASK]
    for item in items:
        kind = item.get("type", "")
        if kind in _CALLS:
            called = _CALLS[kind]
            found.append({"type": called, "call_id": "c", "id": item.get("id", "c")} | _CALL[called])
        found.append(item)
        if kind in _OUTPUTS:
            id = item.get("call_id") or item.get("id")
            output: Any = [] if kind == "shell_call" else "r"
            found.append({"type": _OUTPUTS[kind], "call_id": id, "id": id, "output": output, "tools": [], "status": "completed"})
    return found if found[-1].get("type") == "compaction_trigger" else [*found, _ASK]


def _said(messages: list[JSON]) -> list[JSON]:
    found = []
    for message in messages:
        if message["role"] == "tool":
            found.append(
                {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
            )
        found.append(message)
        found += [{"role": "tool", "tool_call_id": call["id"], "content": "r"} for call in message.get("tool_calls") or []]
    return found


def _turns(turns: list[JSON]) -> list[JSON]:
    found: list[JSON] = []
    for turn in turns:
        blocks = turn["content"] if isinstance(turn.get("content"), list) else []
        kinds = {str(block.get("type")) for block in blocks}
        if "tool_result" in kinds:
            found.append({"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]})
        of_model = any(kind.endswith(("tool_use", "thinking", "_tool_result", "_listing")) or kind == "fallback" for kind in kinds)
        found.append(turn | {"role": "assistant"} if of_model else turn)
        if "tool_use" in kinds:
            found.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": blocks[0]["id"], "content": "r"}]})
    return found


# ---- what becomes of it ----


def vanishes(api: str, pair: Pair) -> bool:
    """Whether some other API is asked the same without it, and nobody is told. What stands in something that is reported is covered."""
    return any(_silent(api, pair, upstream) for upstream in SHAPES if upstream != api.split()[0])


def _silent(api: str, pair: Pair, upstream: str) -> bool:
    try:
        lacking = _sent(api, pair.lacking, upstream)
    except errors.ClientFault:
        return False
    if any(lacking[1:]):
        return False
    try:
        return all(_sent(api, body, upstream) == lacking for body in pair.having)
    except errors.ClientFault:
        return False


def _sent(api: str, body: JSON, upstream: str) -> tuple[JSON, str, str]:
    """What the upstream is sent, and what is reported as dropped and adapted."""
    request = SHAPES[api.split()[0]].decode_request(copy.deepcopy(whole(api, body)))
    sent = SHAPES[upstream].encode_request(request, Capabilities(), "m").body
    ledger = request.ledger
    return sent, ledger.header(ledger.dropped, request.body), ledger.header(ledger.adapted, request.body)


# ---- answers ----


def answers() -> dict[str, dict[str, bool]]:
    """By kind, every type of item, block, delta and event, with whether it vanishes."""
    found: dict[str, dict[str, bool]] = {}
    for kind, union in _ANSWERS:
        shape, _, what = kind.partition(" ")
        found.setdefault(kind, {}).update((name, _unheard(shape, what, name)) for name in sorted(_types(union)))
    return found


_ANSWERS: list[tuple[str, Any]] = [
    ("responses item", ResponseOutputItem), ("responses event", ResponseStreamEvent), ("messages block", anthropic_beta.BetaContentBlock),
    ("messages event", RawMessageStreamEvent), ("messages event", anthropic_beta.BetaRawMessageStreamEvent),
    ("messages delta", RawContentBlockDelta), ("messages delta", anthropic_beta.BetaRawContentBlockDelta),
]  # fmt: skip
_NOTHING = (ev.Start, ev.Metered, ev.Stop, ev.Ping)


def _types(union: Any) -> set[str]:
    kinds = [kind for kind in _united(_bare(union)) if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return {str(word) for kind in kinds for word in get_args(_bare(kind.model_fields["type"].annotation))}


def _unheard(shape: str, what: str, name: str) -> bool:
    """Whether an answer with nothing but an empty one of this type has neither an event nor a report of it."""
    reply = Reply(Request(shape, "m", {}))
    one = {"type": name}
    if what == "item":
        whole_answer = {"object": "response", "id": "r", "status": "completed", "output": [one]}
        events = SHAPES[shape].decode_response(whole_answer, reply)
    elif what == "block":
        whole_answer = {"type": "message", "id": "m", "role": "assistant", "stop_reason": "end_turn", "content": [one], "usage": {}}
        events = SHAPES[shape].decode_response(whole_answer, reply)
    else:
        event = one if what == "event" else {"type": "content_block_delta", "index": 0, "delta": one}
        decoder = SHAPES[shape].Decoder(reply)
        events = decoder.feed((str(event["type"]).encode(), jsontext.dumps(event)))
    return reply.unsaid.count == 0 and all(isinstance(event, _NOTHING) for event in events)


# ---- the list ----


def found() -> dict[str, dict[str, bool]]:
    """By API or kind, every name, with whether what it names vanishes."""
    everything: dict[str, dict[str, bool]] = {}
    for api in ROOTS:
        names = everything.setdefault(api, {})
        for pair in requests(api):
            names[pair.name] = names.get(pair.name, False) or vanishes(api, pair)
    return everything | answers()


def listed(text: str) -> dict[str, dict[str, bool]]:
    """A list as `written`."""
    everything: dict[str, dict[str, bool]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            names = everything.setdefault(line.strip("[]"), {})
        elif line and line[0] != "#":
            kind, *members = line.split()
            for each in [kind, *(f"{kind.rstrip('~')}.{member}" for member in members)]:
                names[each.rstrip("~")] = each.endswith("~")
    return everything


def written(everything: dict[str, dict[str, bool]]) -> str:
    """A section for each API or kind; in it a line for each type, with its members. ~ marks what vanishes."""
    lines = []
    for api, names in everything.items():
        lines.append(f"\n[{api}]")
        kinds: dict[str, list[str]] = {}
        for name in sorted(names):
            kind, _, member = name.partition(".") if api in ROOTS else (name, "", "")
            kinds.setdefault(kind, []).append(f"{member}~" if names[name] and member else member)
        lines += [" ".join(filter(None, [kind + "~" * names.get(kind, False), *kinds[kind]])) for kind in kinds]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(written(found()), end="")

"""What a rule can ask of a whole request beyond single values: the order of messages, which call a result answers, and so on.

Each takes the body, the model's name and whether the model reasons; true: the provider takes it. What needs a memory of earlier
requests (a signature's prefix) is the double's own (double.py).
"""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

JSON = dict[str, Any]


def _messages(body: JSON) -> list[JSON]:
    return [one for one in body.get("messages") or () if isinstance(one, dict)]


def _input(body: JSON) -> list[JSON]:
    items = body.get("input")
    return [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []


def _blocks(message: JSON) -> list[JSON]:
    content = message.get("content")
    return [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []


def _texts(message: JSON) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    for block in _blocks(message):
        if isinstance(block.get("text"), str):
            yield block["text"]


def _all_system_texts(body: JSON) -> Iterator[str]:
    yield from _texts({"content": body.get("system")})


# ---- chat ----


def tool_pairs(body: JSON, model: str, thinking: bool) -> bool:
    open_calls: set[str] = set()
    for message in _messages(body):
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in open_calls:
                return False
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            return False
        open_calls = {call.get("id") for call in message.get("tool_calls") or ()}
    return not open_calls


def content_or_calls(body: JSON, model: str, thinking: bool) -> bool:
    """Calls of both forms and refusals stand without content, as OpenAI's own answers have them."""
    return all(any(one.get(name) is not None for name in ("content", "tool_calls", "function_call", "refusal")) for one in _messages(body))


def content_or_calls_text(body: JSON, model: str, thinking: bool) -> bool:
    return all(one.get("content") or one.get("tool_calls") for one in _messages(body))


def json_word(body: JSON, model: str, thinking: bool) -> bool:
    return any("json" in text.lower() for message in _messages(body) for text in _texts(message))


def last_is_user(body: JSON, model: str, thinking: bool) -> bool:
    messages = _messages(body)
    return not messages or messages[-1].get("role") != "assistant"


def thought_signature(body: JSON, model: str, thinking: bool) -> bool:
    messages = _messages(body)
    last = max((n for n, one in enumerate(messages) if one.get("role") == "user"), default=-1)
    for message in messages[last + 1 :]:
        calls = message.get("tool_calls") or ()
        if calls and not ((calls[0].get("extra_content") or {}).get("google") or {}).get("thought_signature"):
            return False
    return True


def _speaks(message: JSON) -> bool:
    return message.get("role") == "assistant"


def reasoning_back(body: JSON, model: str, thinking: bool) -> bool:
    everywhere = "v4" in model.lower()
    wanted = [one for one in _messages(body) if _speaks(one) and (everywhere or one.get("tool_calls"))]
    return all(isinstance(one.get("reasoning_content"), str) for one in wanted)


def reasoning_back_with_text(body: JSON, model: str, thinking: bool) -> bool:
    """As `reasoning_back`, in the world where an empty text is refused."""
    everywhere = "v4" in model.lower()
    return all(one.get("reasoning_content") for one in _messages(body) if _speaks(one) and (everywhere or one.get("tool_calls")))


def kimi_sampling(body: JSON, model: str, thinking: bool) -> bool:
    temperature, top_p = body.get("temperature"), body.get("top_p")
    return temperature in (None, 1 if thinking else 0.6) and top_p in (None, 0.95)


def assistant_not_empty(body: JSON, model: str, thinking: bool) -> bool:
    names = ("content", "tool_calls", "reasoning_content")
    return all(any(one.get(name) for name in names) for one in _messages(body) if _speaks(one))


def has_user(body: JSON, model: str, thinking: bool) -> bool:
    return any(one.get("role") == "user" for one in _messages(body))


def json_arguments(body: JSON, model: str, thinking: bool) -> bool:
    calls = [call for one in _messages(body) for call in one.get("tool_calls") or ()]
    return all(_is_json_object(call["function"].get("arguments")) for call in calls)


def _is_json_object(text: Any) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (TypeError, ValueError):
        return False


def single_system_first(body: JSON, model: str, thinking: bool) -> bool:
    return all(n == 0 for n, one in enumerate(_messages(body)) if one.get("role") in ("system", "developer"))


def user_after_tool(body: JSON, model: str, thinking: bool) -> bool:
    roles = [one.get("role") for one in _messages(body)]
    return ("tool", "user") not in set(itertools.pairwise(roles))


def last_user_or_tool(body: JSON, model: str, thinking: bool) -> bool:
    messages = _messages(body)
    return not messages or messages[-1].get("role") in ("user", "tool") or messages[-1].get("prefix") is True


def no_empty_content(body: JSON, model: str, thinking: bool) -> bool:
    for message in [*_messages(body), *(item for item in _input(body) if item.get("role"))]:
        other = any("text" not in block for block in _blocks(message))
        if not (message.get("tool_calls") or other or any(_texts(message))):
            return False
    return True


def alternate(body: JSON, model: str, thinking: bool) -> bool:
    messages = _messages(body)
    while messages and messages[0].get("role") == "system":
        messages = messages[1:]
    before = "assistant"
    for message in messages:
        role = message.get("role")
        if role == "tool":
            before = "user"
            continue
        if role == before or role not in ("user", "assistant"):
            return False
        before = str(role)
    return True


def llama_grammar(body: JSON, model: str, thinking: bool) -> bool:
    tools = json.dumps(body.get("tools") or [])
    long = any(int(length) >= 2000 for length in re.findall(r'"maxLength": (\d+)', tools))
    return len(tools) < 97_000 and not long and not re.search(r'"pattern": "[^"]*\\\\d', tools)


# ---- responses ----


def responses_pairs(body: JSON, model: str, thinking: bool) -> bool:
    def ids(kind: str) -> set[str]:
        return {item["call_id"] for item in _input(body) if item.get("type") == kind and item.get("call_id")}

    return ids("function_call") == ids("function_call_output")


def reasoning_followed(body: JSON, model: str, thinking: bool) -> bool:
    items = _input(body)
    for item, after in zip(items, [*items[1:], {}], strict=False):
        if item.get("type") == "reasoning" and item.get("id"):
            kind = str(after.get("type", "message" if after.get("role") else ""))
            spoken = kind == "message" and after.get("role") == "assistant"
            if not (spoken or kind == "reasoning" or kind.endswith("_call")):
                return False
    return True


def choice_in_tools(body: JSON, model: str, thinking: bool) -> bool:
    choice = body.get("tool_choice")
    name = choice.get("name") if isinstance(choice, dict) else None
    return name is None or name in {tool.get("name") for tool in body.get("tools") or ()}


# ---- messages ----


def budget(body: JSON, model: str, thinking: bool) -> bool:
    tokens = (body.get("thinking") or {}).get("budget_tokens")
    return tokens is None or 1024 <= tokens < body.get("max_tokens", 0)


def _is_results(message: JSON) -> bool:
    blocks = _blocks(message)
    return bool(blocks) and all(block.get("type") == "tool_result" for block in blocks)


def thinking_before_tool(body: JSON, model: str, thinking: bool) -> bool:
    messages = _messages(body)
    asked = (n for n, one in enumerate(messages) if one.get("role") == "user" and not _is_results(one))
    for message in messages[max(asked, default=-1) + 1 :]:
        kinds = [block.get("type") for block in _blocks(message)]
        if "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking"):
            return False
    return True


def image_limits(body: JSON, model: str, thinking: bool) -> bool:
    images = [block["source"] for message in _messages(body) for block in _within(message) if block.get("type") == "image"]
    data = [source["data"] for source in images if source.get("type") == "base64"]
    side = max((max(_size(one)) for one in data), default=0)
    return len(images) <= 100 and side <= (2000 if len(images) > 20 else 8000) and all(len(one) <= 10 << 20 for one in data)


def _within(message: JSON) -> Iterator[JSON]:
    for block in _blocks(message):
        yield block
        yield from _blocks(block)


def _size(data: str) -> tuple[int, int]:
    """Width and height of a PNG, from its head."""
    head = base64.b64decode(data[:64] + "=" * (-len(data[:64]) % 4))
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 24:
        return (0, 0)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def _marks(value: Any) -> Iterator[tuple[JSON, JSON]]:
    """Every object with a cache mark, in order, and its mark."""
    if isinstance(value, dict):
        if isinstance(value.get("cache_control"), dict):
            yield value, value["cache_control"]
        for key, inner in value.items():
            if key != "cache_control":
                yield from _marks(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _marks(inner)


def cache_order(body: JSON, model: str, thinking: bool) -> bool:
    lifetimes = [mark.get("ttl", "5m") for name in ("tools", "system", "messages") for _, mark in _marks(body.get(name))]
    return lifetimes == sorted(lifetimes, key=lambda lifetime: lifetime != "1h")


def cache_place(body: JSON, model: str, thinking: bool) -> bool:
    for block, _ in _marks([body.get("system"), body.get("messages")]):
        if block.get("type") in ("thinking", "redacted_thinking") or (block.get("type") == "text" and not block.get("text")):
            return False
    return True


def non_empty(body: JSON, model: str, thinking: bool) -> bool:
    messages = _messages(body)
    for number, message in enumerate(messages):
        last = number == len(messages) - 1 and _speaks(message)
        if not message.get("content") and not last:
            return False
        if any(block.get("type") == "text" and not block.get("text") for block in _within(message)):
            return False
    return all(text for text in _all_system_texts(body)) if isinstance(body.get("system"), list) else True


def trailing_space(body: JSON, model: str, thinking: bool) -> bool:
    messages = _messages(body)
    if not messages or not _speaks(messages[-1]):
        return True
    texts = list(_texts(messages[-1]))
    return not texts or texts[-1] == texts[-1].rstrip()


def anthropic_pairs(body: JSON, model: str, thinking: bool) -> bool:
    before: list[str] = []
    for message in [*_messages(body), {}]:
        kinds = [block.get("type") for block in _blocks(message)]
        results = [block["tool_use_id"] for block in _blocks(message) if block.get("type") == "tool_result"]
        if sorted(results) != sorted(before) or (results and "tool_result" in kinds[len(results) :]):
            return False
        before = [block["id"] for block in _blocks(message) if block.get("type") == "tool_use"]
        if len(set(before)) != len(before):
            return False
    return True


def mid_system(body: JSON, model: str, thinking: bool) -> bool:
    roles = [one.get("role") for one in _messages(body)]
    for n, role in enumerate(roles):
        if role == "system" and (n == 0 or roles[n - 1] == "system" or roles[n + 1 : n + 2] not in ([], ["assistant"])):
            return False
    return True


def strict_caps(body: JSON, model: str, thinking: bool) -> bool:
    strict = [tool.get("input_schema") or {} for tool in body.get("tools") or () if tool.get("strict") is True]
    optional = sum(len(set(schema.get("properties") or ()) - set(schema.get("required") or ())) for schema in strict)
    return len(strict) <= 20 and optional <= 24 and sum(json.dumps(schema).count('"anyOf"') for schema in strict) <= 16


def tools_when_history(body: JSON, model: str, thinking: bool) -> bool:
    used = any(block.get("type") in ("tool_use", "tool_result") for message in _messages(body) for block in _blocks(message))
    return bool(body.get("tools")) or not (used or body.get("tool_choice"))


def results_alone(body: JSON, model: str, thinking: bool) -> bool:
    return all(_is_results(one) or not any(b.get("type") == "tool_result" for b in _blocks(one)) for one in _messages(body))


# ---- converse ----


def _has(message: JSON, *names: str) -> bool:
    return any(name in block for block in _blocks(message) for name in names)


def toolconfig_with_history(body: JSON, model: str, thinking: bool) -> bool:
    return "toolConfig" in body or not any(_has(one, "toolUse", "toolResult") for one in _messages(body))


def converse_non_empty(body: JSON, model: str, thinking: bool) -> bool:
    lists = [body.get("system"), (body.get("toolConfig") or {}).get("tools"), (body.get("inferenceConfig") or {}).get("stopSequences")]
    lists += [one.get("content") for one in _messages(body)]
    texts = [block["text"] for one in _messages(body) for block in _blocks(one) if "text" in block]
    texts += [block["text"] for block in body.get("system") or () if "text" in block]
    return all(one != [] for one in lists) and all(text.strip() for text in texts)


def converse_roles(body: JSON, model: str, thinking: bool) -> bool:
    roles = [one.get("role") for one in _messages(body)]
    return roles[:1] == ["user"] and all(a != b for a, b in itertools.pairwise(roles))


def converse_results_alone(body: JSON, model: str, thinking: bool) -> bool:
    return all(not _has(one, "toolResult") or all("toolResult" in block for block in _blocks(one)) for one in _messages(body))


# ---- gemini ----

_HOLDS = {"text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode"}
_HOLDS |= {"codeExecutionResult", "toolCall", "toolResponse"}


def _contents(body: JSON) -> list[JSON]:
    return [one for one in body.get("contents") or () if isinstance(one, dict)]


def _holding(content: JSON, name: str) -> list[JSON]:
    return [part for part in content.get("parts") or () if name in part]


def _turns_of(body: JSON) -> list[JSON]:
    """The contents, adjacent ones of the model as one."""
    turns: list[JSON] = []
    for content in _contents(body):
        if turns and content.get("role") == "model" == turns[-1].get("role"):
            turns[-1] = turns[-1] | {"parts": [*turns[-1]["parts"], *content["parts"]]}
        else:
            turns.append(content)
    return turns


def whole_contents(body: JSON, model: str, thinking: bool) -> bool:
    contents = _contents(body)
    parts = [part for content in contents for part in content.get("parts") or ()]
    filled = bool(contents) and all(content.get("parts") and content.get("role", "user") in ("user", "model") for content in contents)
    return filled and all(len(_HOLDS & part.keys()) == (part.keys() != {"thoughtSignature"}) for part in parts)


def google_pairs(body: JSON, model: str, thinking: bool) -> bool:
    open_calls, turns = 0, _turns_of(body)
    for number, turn in enumerate(turns):
        results = len(_holding(turn, "functionResponse"))
        if results != open_calls or (results and results != len(turn["parts"])):
            return False
        open_calls = len(_holding(turn, "functionCall"))
        if open_calls and (number == 0 or turn.get("role") != "model"):
            return False
    return True


def google_signatures(body: JSON, model: str, thinking: bool) -> bool:
    turns = _turns_of(body)
    asked = (n for n, one in enumerate(turns) if one.get("role") != "model" and not _holding(one, "functionResponse"))
    firsts = (_holding(one, "functionCall")[:1] for one in turns[max(asked, default=-1) + 1 :])
    return all(part.get("thoughtSignature") for first in firsts for part in first)


def google_choice(body: JSON, model: str, thinking: bool) -> bool:
    config = (body.get("toolConfig") or {}).get("functionCallingConfig")
    declared = {each["name"] for tool in body.get("tools") or () for each in tool.get("functionDeclarations") or ()}
    names = set((config or {}).get("allowedFunctionNames") or ())
    return config is None or (bool(declared) and names <= declared and (not names or config.get("mode") in ("ANY", "VALIDATED")))


def google_parameters(body: JSON, model: str, thinking: bool) -> bool:
    declared = [each for tool in body.get("tools") or () for each in tool.get("functionDeclarations") or ()]
    schemas = [each["parametersJsonSchema"] for each in declared if "parametersJsonSchema" in each]
    return not any(schema.get("type", "object") == "object" and schema.keys() <= _NOTHING for schema in schemas)


_NOTHING = {"type", "title", "description", "required"}  # of an object of which nothing else is known


def google_results(body: JSON, model: str, thinking: bool) -> bool:
    results = [part["functionResponse"].get("response") for one in _contents(body) for part in _holding(one, "functionResponse")]
    return '"$ref":' not in json.dumps(results)


def google_last_is_user(body: JSON, model: str, thinking: bool) -> bool:
    return all(content.get("role") != "model" for content in _contents(body)[-1:])


def google_output(body: JSON, model: str, thinking: bool) -> bool:
    config = body.get("generationConfig") or {}
    return not ("responseSchema" in config or "responseJsonSchema" in config) or config.get("responseMimeType") == "application/json"


def remembered_by_the_double(body: JSON, model: str, thinking: bool) -> bool:
    return True


BY_NAME: dict[str, Callable[[JSON, str, bool], bool]] = {
    one.__name__: one
    for one in (
        tool_pairs, content_or_calls, content_or_calls_text, json_word, last_is_user, thought_signature, reasoning_back,
        reasoning_back_with_text, kimi_sampling,
        assistant_not_empty, has_user, json_arguments, single_system_first, user_after_tool, last_user_or_tool, no_empty_content, alternate,
        llama_grammar, responses_pairs, reasoning_followed, choice_in_tools, budget, thinking_before_tool, image_limits, cache_order,
        cache_place, non_empty, trailing_space, anthropic_pairs, mid_system, strict_caps, tools_when_history, results_alone,
        toolconfig_with_history, converse_non_empty, converse_roles, converse_results_alone,
        whole_contents, google_pairs, google_signatures, google_choice, google_parameters, google_results,
        google_last_is_user, google_output,
    )
} | {"prefix_bound": remembered_by_the_double}  # fmt: skip

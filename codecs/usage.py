"""Token counts: a neutral record, and its conversion from and to each shape.

The neutral `input` includes cached tokens, and `output` includes reasoning. The messages shape counts cached tokens separately. Servers
of the OpenAI shapes differ (xAI and Google exclude reasoning from `completion_tokens`, hosts of Claude exclude cached tokens from
`prompt_tokens`); their total shows which is the case, so that the provider need not be known. Sources: the usage objects of the three
API references; aliases of other providers are in `quirks.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from . import quirks
from .anything import at, dicts_of

MOST = 1_000_000_000
"""The maximum of a token count: anything above is invalid, and would exhaust every budget at once."""
CHAT_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
"""The service tiers of the chat shape; the responses shape has more."""

_TIER_TO_OPENAI = {"standard": "default", "batch": "default", "priority": "priority"}
_TIER_TO_MESSAGES = {"default": "standard", "auto": "standard", "flex": "standard", "scale": "standard", "priority": "priority"}


@dataclass(slots=True)
class Usage:
    input: int = 0  # tokens read, including cached ones
    output: int = 0  # tokens written, including reasoning
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_long: int | None = None  # those of `cache_write` with the long lifetime
    reasoning: int | None = None
    total: int | None = None  # the upstream's own total; None: input + output
    tier: str | None = None  # service tier, as in the OpenAI shapes
    tools: dict[str, int] | None = None  # what the provider's own tools did and may charge apart: TOOLS; None: nothing is told
    fast: bool = False  # answered at the messages shape's speed "fast", which has prices of its own
    rounds: tuple[tuple[str, Usage], ...] = ()  # of these counts, those of rounds whose model the upstream names, by that name

    @property
    def all(self) -> int:
        return self.input + self.output if self.total is None else self.total


TOOLS = ("web_search", "web_fetch", "image_tokens")
"""Requests of tools that the provider runs, and tokens of images that it made."""


def added(usage: Usage, other: Usage) -> Usage:
    """What two answers used together; the tier is that of the first."""

    def both(name: str) -> int | None:
        counts = [number for number in (getattr(usage, name), getattr(other, name)) if number is not None]
        return sum(counts) if counts else None

    tools = dict(usage.tools or {})
    for name, count in (other.tools or {}).items():
        tools[name] = tools.get(name, 0) + count
    return Usage(
        usage.input + other.input,
        usage.output + other.output,
        cache_read=both("cache_read"),
        cache_write=both("cache_write"),
        cache_write_long=both("cache_write_long"),
        reasoning=both("reasoning"),
        total=None if usage.total is None and other.total is None else usage.all + other.all,
        tier=usage.tier or other.tier,
        tools=tools or None,
        fast=usage.fast or other.fast,
        rounds=usage.rounds + other.rounds,
    )


def count(value: Any) -> int:
    """A token count from an upstream; 0 if invalid: negative, a fraction, a string, or above MOST."""
    if type(value) is int:
        return value if 0 < value <= MOST else 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST else 0


def _maybe(details: Any, key: str) -> int | None:
    value = at(details, key)
    return None if value is None else count(value)


# the counts of one side of a usage object, in any shape, and their details
_SIDES = (
    (("prompt_tokens",), ("prompt_tokens_details", *quirks.CACHED_TOKENS)),
    (("completion_tokens",), ("completion_tokens_details",)),
    (("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"), ("cache_creation",)),
    (("output_tokens",), ("output_tokens_details",)),
    (("total_tokens",), ()),
)


def merged(known: dict[str, Any] | None, usage: dict[str, Any], partial: bool = False) -> dict[str, Any]:
    """Merge a later usage object into an earlier one; both count the entire answer so far.

    Null and a side with only zeros are ignored. partial: whether members missing in the later object keep their value.
    """
    if not known:
        return usage
    combined = (known if partial else {}) | {key: value for key, value in usage.items() if value is not None}
    if "iterations" not in usage:
        combined.pop("iterations", None)  # of an earlier count
    for counts, details in _SIDES:
        if not known.keys().isdisjoint(counts) and not _counted(usage, counts):
            combined |= {key: known[key] for key in (*counts, *details) if key in known}
    return combined


def _counted(usage: dict[str, Any], keys: Iterable[str]) -> bool:
    """Whether one of these counts is more than 0."""
    return any(map(count, map(usage.get, keys)))


def _settled(usage: Usage, total: Any, heard: bool = False) -> Usage:
    """Return the usage with cached tokens included in the input and reasoning in the output. total: the upstream's.

    A part was excluded if the total exceeds the sum of both sides by it, or, without a total, if the part is larger than its side.
    (With a total that is no proof: OpenRouter counts reasoning with another tokenizer.) An unexplained excess of the total counts as
    output: Google's thoughts. heard: as input, where the upstream counts the sound of the prompt beside its text (Mistral).
    """
    cached, reasoning = (usage.cache_read or 0) + (usage.cache_write or 0), usage.reasoning or 0
    total = count(total)
    if not total:
        usage.input += cached if cached > usage.input else 0
        usage.output += reasoning if reasoning > usage.output else 0
        return usage
    more = total - usage.input - usage.output
    if reasoning and more in (reasoning, reasoning + cached):
        usage.output += reasoning
        more -= reasoning
    if more and more == cached:
        usage.input += cached
    elif more > 0 and heard:
        usage.input += more
    elif more > 0 and usage.reasoning is None:
        usage.output += more
    elif more:
        usage.total = total
    return usage


def from_chat(usage: dict[str, Any], tier: Any = None) -> Usage:
    """Convert a chat completion's `usage`."""
    details = usage.get("prompt_tokens_details")
    read = _maybe(details, "cached_tokens")
    if read is None:
        read = next((count(usage[k]) for k in quirks.CACHED_TOKENS if usage.get(k) is not None), None)
    converted = Usage(
        input=count(usage.get("prompt_tokens")),
        output=count(usage.get("completion_tokens")),
        cache_read=read,
        cache_write=_maybe(details, "cache_write_tokens"),
        reasoning=_maybe(usage.get("completion_tokens_details"), "reasoning_tokens"),
        tier=tier if isinstance(tier, str) else None,
    )
    return _settled(converted, usage.get("total_tokens"), heard=usage.get(quirks.SOUND) is not None)


def from_responses(usage: dict[str, Any], tier: Any = None, tools: Any = None) -> Usage:
    """From a response's `usage`, and its `tool_usage`."""
    details = usage.get("input_tokens_details")
    converted = Usage(
        input=count(usage.get("input_tokens")),
        output=count(usage.get("output_tokens")),
        cache_read=_maybe(details, "cached_tokens"),
        cache_write=_maybe(details, "cache_write_tokens"),
        cache_write_long=_maybe(at(details, "cache_write_tokens_details"), "ttl_12h_tokens"),
        reasoning=_maybe(usage.get("output_tokens_details"), "reasoning_tokens"),
        tier=tier if isinstance(tier, str) else None,
        tools=_tools(tools, web_search=("web_search", "num_requests"), image_tokens=("image_gen", "total_tokens")),
    )
    return _settled(converted, usage.get("total_tokens"))


def from_messages(usage: dict[str, Any]) -> Usage:
    """Convert a message's `usage` (in a stream: message_start's, merged with message_delta's).

    The counts are those of all rounds if it lists them: the ones at the top leave out a compaction and what helpers used.
    """
    rounds = dicts_of(usage, "iterations")
    if not any(_counted(each, _ITERATED) for each in rounds):
        rounds = []
    converted = reduce(added, map(_of_round, rounds or [usage]))
    if converted.cache_write_long is None:
        converted.cache_write_long = _long(usage)
    converted.rounds = tuple((model, _of_round(each)) for each in rounds if isinstance(model := each.get("model"), str))
    tier = usage.get("service_tier")
    converted.reasoning = _maybe(usage.get("output_tokens_details"), "thinking_tokens") or 0
    converted.tier = _TIER_TO_OPENAI.get(tier) if isinstance(tier, str) else None
    converted.tools = _tools(usage, **{name: ("server_tool_use", f"{name}_requests") for name in ("web_search", "web_fetch")})
    converted.fast = usage.get("speed") == "fast"
    return converted


def _of_round(counts: dict[str, Any]) -> Usage:
    read, write = count(counts.get("cache_read_input_tokens")), count(counts.get("cache_creation_input_tokens"))
    return Usage(
        input=count(counts.get("input_tokens")) + read + write,
        output=count(counts.get("output_tokens")),
        cache_read=read,
        cache_write=write,
        cache_write_long=_long(counts),
    )


def _long(counts: dict[str, Any]) -> int | None:
    return _maybe(counts.get("cache_creation"), "ephemeral_1h_input_tokens")


_GOOGLE_TIERS = {"standard": "default", "flex": "flex", "priority": "priority"}


def from_gemini(usage: dict[str, Any], tier: str = "") -> Usage:
    """Convert `usageMetadata`. What Google's own tools read counts apart from the prompt, and thoughts apart from the candidates.

    tier: what the answer's header says, for a usage that does not.
    """
    thoughts = _maybe(usage, "thoughtsTokenCount")
    total = count(usage.get("totalTokenCount"))
    converted = Usage(
        input=count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount")),
        output=count(usage.get("candidatesTokenCount")) + (thoughts or 0),
        cache_read=_maybe(usage, "cachedContentTokenCount"),
        reasoning=thoughts,
        tier=_GOOGLE_TIERS.get(str(usage.get("serviceTier") or tier).lower()),
    )
    if usage.get("promptTokenCount") is None:
        converted.input = max(0, total - converted.output)
    if total and total != converted.input + converted.output:
        converted.total = total
    return converted


def _tools(holder: Any, **places: tuple[str, str]) -> dict[str, int] | None:
    """Counts of TOOLS that are more than 0. places: for each the member of the holder that tells of it, and the count in that."""
    if not isinstance(holder, dict):
        return None
    counts = {name: count(_maybe(holder.get(member), key)) for name, (member, key) in places.items()}
    return {name: number for name, number in counts.items() if number} or None


_ITERATED = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
OF_MESSAGES = frozenset({
    *_ITERATED, "iterations", "cache_creation", "output_tokens_details", "service_tier", "server_tool_use", "speed",
})  # fmt: skip
"""The members of a message's `usage` that are read: a stream may add others without end."""


def to_chat(usage: Usage) -> dict[str, Any]:
    out: dict[str, Any] = {"prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.all}
    if usage.cache_read is not None or usage.cache_write is not None:
        out["prompt_tokens_details"] = {"cached_tokens": usage.cache_read or 0}
        if usage.cache_write is not None:
            out["prompt_tokens_details"]["cache_write_tokens"] = usage.cache_write
    if usage.reasoning is not None:
        out["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return out


def to_responses(usage: Usage) -> dict[str, Any]:
    details: dict[str, Any] = {"cached_tokens": usage.cache_read or 0, "cache_write_tokens": usage.cache_write or 0}
    if usage.cache_write_long is not None:
        details["cache_write_tokens_details"] = {"ttl_30m_tokens": _short(usage), "ttl_12h_tokens": usage.cache_write_long}
    return {
        "input_tokens": usage.input,
        "input_tokens_details": details,
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": usage.all,
    }


def to_messages(usage: Usage) -> dict[str, Any]:
    """The messages shape's `usage`, whose three counts of the input exclude each other.

    OpenRouter says of a prompt that Google stored and read in one go that all of it was read, and written.
    """
    read = usage.cache_read or 0
    write = min(usage.cache_write or 0, max(0, usage.input - read))
    out: dict[str, Any] = {
        "input_tokens": max(0, usage.input - read - write),
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output,
    }
    if usage.cache_write_long is not None:
        hour = min(usage.cache_write_long, write)
        out["cache_creation"] = {"ephemeral_5m_input_tokens": write - hour, "ephemeral_1h_input_tokens": hour}
    if usage.reasoning is not None:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.tier is not None:
        out["service_tier"] = _TIER_TO_MESSAGES.get(usage.tier, "standard")
    return out


def to_gemini(usage: Usage) -> dict[str, Any]:
    """The gemini shape's `usageMetadata`. Source: google-genai 3.6.1, GenerateContentResponseUsageMetadata.

    Its counts make up the total. An upstream that counts reasoning with another tokenizer may name more of it than the whole output has.
    """
    reasoning = min(usage.reasoning or 0, usage.output)
    out = {"promptTokenCount": usage.input}
    if usage.cache_read:
        out["cachedContentTokenCount"] = usage.cache_read
    out["candidatesTokenCount"] = max(0, usage.output - reasoning)
    if reasoning:
        out["thoughtsTokenCount"] = reasoning
    return out | {"totalTokenCount": usage.input + usage.output}


def _short(usage: Usage) -> int:
    """Tokens written to the cache with the short lifetime."""
    return max(0, (usage.cache_write or 0) - (usage.cache_write_long or 0))

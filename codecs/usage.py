"""Token counts: one neutral record, and its arithmetic to and from each shape.

Neutral `input` counts everything that was read, cached or not, as the OpenAI shapes do; the messages shape counts the cached
part apart. Sources: the usage objects of the three API references; aliases of other providers are in `quirks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import quirks

MOST = 1_000_000_000
"""Tokens that an answer can have used: what is beyond is no count, and would spend every budget at once."""

_TIER_TO_OPENAI = {"standard": "default", "batch": "default", "priority": "priority"}
_TIER_TO_MESSAGES = {"default": "standard", "auto": "standard", "flex": "standard", "scale": "standard", "priority": "priority"}


@dataclass(slots=True)
class Usage:
    input: int = 0  # tokens read, cached ones included
    output: int = 0  # tokens written, reasoning as the upstream counts it
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    total: int | None = None  # the upstream's own total; None: input + output
    tier: str | None = None  # service tier, in the OpenAI shapes' words

    @property
    def all(self) -> int:
        return self.input + self.output if self.total is None else self.total


def count(value: Any) -> int:
    """A number of tokens that an upstream tells; 0 for what is none: a negative one, a fraction, a text, more than MOST."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST else 0


def _maybe(details: Any, key: str) -> int | None:
    value = details.get(key) if isinstance(details, dict) else None
    return None if value is None else count(value)


def _total(usage: dict[str, Any], spent: int) -> int | None:
    total = count(usage.get("total_tokens"))
    return total if total and total != spent else None


def from_chat(usage: dict[str, Any], tier: Any = None) -> Usage:
    """From a chat completion's `usage`."""
    details = usage.get("prompt_tokens_details")
    read = _maybe(details, "cached_tokens")
    if read is None:
        read = next((count(usage[k]) for k in quirks.CACHED_TOKENS if usage.get(k) is not None), None)
    spent, made = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    return Usage(
        input=spent,
        output=made,
        cache_read=read,
        cache_write=_maybe(details, "cache_write_tokens"),
        reasoning=_maybe(usage.get("completion_tokens_details"), "reasoning_tokens"),
        total=_total(usage, spent + made),
        tier=tier if isinstance(tier, str) else None,
    )


def from_responses(usage: dict[str, Any], tier: Any = None) -> Usage:
    """From a response's `usage`."""
    details = usage.get("input_tokens_details")
    spent, made = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    return Usage(
        input=spent,
        output=made,
        cache_read=_maybe(details, "cached_tokens"),
        cache_write=_maybe(details, "cache_write_tokens"),
        reasoning=_maybe(usage.get("output_tokens_details"), "reasoning_tokens"),
        total=_total(usage, spent + made),
        tier=tier if isinstance(tier, str) else None,
    )


def from_messages(usage: dict[str, Any]) -> Usage:
    """From a message's `usage` (in a stream: message_start's, with message_delta's non-null fields over it)."""
    read, write = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
    tier = usage.get("service_tier")
    return Usage(
        input=count(usage.get("input_tokens")) + read + write,
        output=count(usage.get("output_tokens")),
        cache_read=read,
        cache_write=write,
        reasoning=_maybe(usage.get("output_tokens_details"), "thinking_tokens") or 0,
        tier=_TIER_TO_OPENAI.get(tier) if isinstance(tier, str) else None,
    )


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
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cache_read or 0, "cache_write_tokens": usage.cache_write or 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": usage.all,
    }


def to_messages(usage: Usage) -> dict[str, Any]:
    read, write = usage.cache_read or 0, usage.cache_write or 0
    out: dict[str, Any] = {
        "input_tokens": max(0, usage.input - read - write),
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output,
    }
    if usage.reasoning is not None:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.tier is not None:
        out["service_tier"] = _TIER_TO_MESSAGES.get(usage.tier, "standard")
    return out

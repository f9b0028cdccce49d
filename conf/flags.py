"""Names and types of the capability flags, as `capabilities` in a configuration and the tables of this package write them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from . import read

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
WEB_SEARCH = "web_search_20250305"


def _efforts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item in EFFORTS for item in value):
        raise ValueError(f"must be a list of {', '.join(EFFORTS)}")
    return tuple(value)


RESTRICTIONS = ("complete", "no_root_union", "refs_in_defs", "bare_refs", "no_refs", "no_booleans")


def _restrictions(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(item in RESTRICTIONS for item in value):
        raise ValueError(f"must be a list of {', '.join(RESTRICTIONS)}")
    return tuple(value)


def _members(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of names")
    return tuple(value)


def _tool_type(value: Any) -> str:
    if isinstance(value, bool):
        return WEB_SEARCH if value else ""
    if not isinstance(value, str):
        raise ValueError("must be the type of a tool, or false")
    return value


_TOKENS = read.whole(1, 10_000_000)

FLAGS: dict[str, read.Reader] = {
    "owns_key": read.boolean,
    "echo_model": read.one_of("alias", "upstream"),
    "reasoning_domain": read.text,
    "openai_host": read.boolean,
    "schema_subset": _restrictions,
    "leave_out": _members,
    "c.max_tokens_field": read.one_of("max_tokens", "max_completion_tokens"),
    "c.developer_role": read.boolean,
    "c.single_system": read.boolean,
    "c.custom_tools": read.boolean,
    "c.allowed_tools": read.boolean,
    "c.file_parts": read.boolean,
    "c.web_search": read.boolean,
    "c.top_k": read.boolean,
    "c.effort_values": _efforts,
    "c.reasoning_in": read.one_of("none", "reasoning_content", "reasoning", "reasoning_details"),
    "c.reasoning_required_with_tools": read.boolean,
    "c.cache_breakpoints": read.boolean,
    "c.strict_tools": read.boolean,
    "c.json_schema": read.boolean,
    "c.content_parts": read.boolean,
    "c.fast_tier": read.boolean,
    "c.reasons": read.one_of("never", "asked", "unless_off", "always"),
    "c.thinking_switch": read.one_of("none", "thinking", "enable_thinking"),
    "c.sampling": read.one_of("full", "unless_reasoning", "none"),
    "c.tools": read.boolean,
    "c.tool_choice": read.one_of("any", "required", "auto"),
    "c.tool_choice_reasoning": read.one_of("any", "required", "auto"),
    "c.mixed_strict": read.boolean,
    "c.letter_names": read.boolean,
    "c.call_ids": read.one_of("any", "nine"),
    "c.user_after_tool": read.boolean,
    "c.alternate": read.boolean,
    "c.null_content": read.boolean,
    "c.empty_content": read.boolean,
    "c.images": read.boolean,
    "c.image_urls": read.boolean,
    "c.reasoning_required": read.boolean,
    "c.max_output": _TOKENS,
    "c.json_object": read.boolean,
    "c.json_with_tools": read.boolean,
    "m.version": read.text,
    "m.sampling": read.one_of("full", "temperature_or_top_p", "none"),
    "m.thinking": read.one_of("none", "manual", "both", "adaptive", "adaptive_always"),
    "m.effort_values": _efforts,
    "m.structured_outputs": read.boolean,
    "m.strict_tools": read.boolean,
    "m.mid_system": read.boolean,
    "m.prefill": read.boolean,
    "m.max_output": _TOKENS,
    "m.web_search": _tool_type,
    "m.first_user_required": read.boolean,
    "m.count_tokens": read.boolean,
    "m.tools_required_with_history": read.boolean,
    "m.auto_cache": read.boolean,
    "m.forced_tools": read.boolean,
    "m.fast_speed": read.boolean,
    "r.stateful": read.boolean,
    "r.min_output_tokens": _TOKENS,
    "r.encrypted_reasoning": read.boolean,
    "r.summaries": read.boolean,
    "r.input_tokens": read.boolean,
    "r.effort_values": _efforts,
    "r.sampling": read.one_of("full", "unless_reasoning"),
    "r.reasons": read.one_of("never", "asked", "unless_off"),
    "r.instructions_required": read.boolean,
    "r.fast_tier": read.boolean,
}

_GROUPS = ("c", "m", "r")


def flatten(written: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Path as written, dotted name and value of each flag; `c: {top_k: true}` is the same as `c.top_k: true`."""
    for key, value in written.items():
        if key in _GROUPS and isinstance(value, Mapping):
            for name, inner in value.items():
                yield (key, name), f"{key}.{name}", inner
        else:
            yield (key,), key, value


def unknown(written: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Path as written of every flag that does not exist, and the name of the nearest that does."""
    for path, name, _ in flatten(written):
        if name not in FLAGS:
            yield path, nearest(name, FLAGS)


def check(written: Mapping[str, Any]) -> tuple[dict[str, object], dict[tuple[str, ...], str]]:
    """The flags by dotted name, and what is wrong with their values by path as written; unknown ones are left out."""
    flags: dict[str, object] = {}
    wrong: dict[tuple[str, ...], str] = {}
    for path, name, value in flatten(written):
        if name in FLAGS:
            try:
                flags[name] = FLAGS[name](value)
            except ValueError as error:
                wrong[path] = str(error)
    return flags, wrong


def nearest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    """The known word that looks most like this one."""
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.0)[0]

"""What one upstream model can express: flags that the encoders ask, never guess.

The names are those of the configuration's `capabilities` map with the dot written as an underscore (`c.reasoning_in` is
`c_reasoning_in`). A letter in front says of which API an upstream's flag speaks. The configuration's readers are made from the types
here (`conf/flags.py`): this is the only list of flags, of efforts and of their words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Flags of one upstream and model. The defaults are those of an unknown host of the shape."""

    owns_key: bool = True  # the gateway's own credential is used: the upstream's 401, 402 and 403 are the operator's affair
    echo_model: Literal["alias", "upstream"] = "alias"  # the name that the caller asked by, or what the upstream says
    reasoning_domain: str = ""  # whose opaque reasoning this upstream can read back; by default the provider's name
    openai_host: bool = False  # api.openai.com or Azure: takes OpenAI's own extensions

    c_max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    c_developer_role: bool = False
    c_single_system: bool = False  # the chat template rejects a second system message
    c_custom_tools: bool = False
    c_allowed_tools: bool = False
    c_file_parts: bool = False
    c_web_search: bool = False
    c_top_k: bool = False
    c_effort_values: tuple[str, ...] = ("low", "medium", "high")  # empty: not a reasoning model
    c_reasoning_in: Literal["none", "reasoning_content", "reasoning", "reasoning_details"] = "reasoning_content"
    c_reasoning_required_with_tools: bool = False
    c_cache_breakpoints: bool = False
    c_strict_tools: bool = True
    c_json_schema: bool = True
    c_content_parts: bool = True
    c_extra_content: bool = False  # takes Google's signatures back in `extra_content`
    c_fast_tier: bool = False  # accepts service_tier "fast"

    m_version: str = "2023-06-01"
    m_sampling: Literal["full", "temperature_or_top_p", "none"] = "temperature_or_top_p"
    m_thinking: Literal["none", "manual", "both", "adaptive", "adaptive_always"] = "adaptive"
    m_effort_values: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    m_structured_outputs: bool = True
    m_strict_tools: bool = True
    m_mid_system: bool = False
    m_prefill: bool = False
    m_max_output: int = 8192
    m_web_search: str = "web_search_20250305"  # the tool type to send; empty: not offered
    m_first_user_required: bool = True
    m_count_tokens: bool = True
    m_tools_required_with_history: bool = False
    m_auto_cache: bool = False
    m_fast_speed: bool = False  # accepts speed "fast"

    r_stateful: bool = True
    r_min_output_tokens: int = 16
    r_encrypted_reasoning: bool = True
    r_summaries: bool = True
    r_input_tokens: bool = True
    r_fast_tier: bool = False

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any]) -> Capabilities:
        """From the configuration's dotted names. Raises KeyError for a name that is not a flag."""
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {}
        for dotted, value in flags.items():
            name = dotted.replace(".", "_")
            if name not in known:
                raise KeyError(dotted)
            values[name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)

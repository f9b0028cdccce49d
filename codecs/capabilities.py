"""The capabilities of an upstream model: flags that the encoders read instead of guessing.

The names are those of the configuration's `capabilities` map with the dot replaced by an underscore (`c.reasoning_in` is
`c_reasoning_in`). The prefix names the upstream's API. `conf/flags.py` derives the configuration's readers from the types here: this
is the only list of flags, of efforts and of their values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Flags of one upstream and model. The defaults are those of an unknown host of the shape."""

    known: frozenset[str] = field(default=frozenset(), compare=False)  # fields that are configured or in a table; others are guesses
    owns_key: bool = True  # the gateway's own credential is used: the upstream's 401, 402 and 403 concern the operator
    echo_model: Literal["alias", "upstream"] = "alias"  # `model` in answers: the name requested by the caller, or the upstream's
    reasoning_domain: str = ""  # the origin of opaque reasoning that this upstream can read; default: the provider's name
    region: str = ""  # where it processes requests, in the words of callers' `inference_geo`
    schema_subset: tuple[str, ...] = ()  # restrictions on tools' schemas: see subsets.RESTRICTIONS
    leave_out: tuple[str, ...] = ()  # members of a body that the upstream refuses
    openai_host: bool = False  # api.openai.com or Azure: supports OpenAI's own extensions
    unserved: tuple[str, ...] = ()  # the upstream's APIs that do not serve this model
    preferred: tuple[str, ...] = ()  # those that callers of other APIs are brought to before the rest, in order
    whole_answers: Literal["any", "unless_reasoning", "never"] = "any"  # complete answers supported; else a stream is requested
    whole_answers_up_to: int = 0  # max. output tokens of a complete answer (a stream above it); 0: no known limit
    phase: bool = False  # responses callers are told which texts are commentary and which the final answer, although nobody asked
    detour: bool = False  # served at the other of two paths that its provider has
    misplaced: bool = False  # a refusal said so: it is not at the path that `detour` says
    image_header: str = ""  # a header that requests with images need, with the value "true"

    c_max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    c_developer_role: bool = False
    c_system_role: bool = True  # else instructions go up as messages of the user
    c_single_system: bool = False  # the chat template rejects a second system message
    c_custom_tools: bool = False
    c_allowed_tools: bool = False
    c_file_parts: bool = False
    c_web_search: bool = False
    c_top_k: bool = False
    c_effort_values: tuple[str, ...] = ("low", "medium", "high")  # empty: not a reasoning model
    c_reasoning_in: Literal["none", "reasoning_content", "reasoning", "reasoning_text", "reasoning_details"] = "reasoning_content"
    c_reasoning_required_with_tools: bool = False
    c_cache_breakpoints: bool = False
    c_cache_control: bool = False  # accepts Anthropic's cache_control on parts instead
    c_strict_tools: bool = True
    c_json_schema: bool = True
    c_content_parts: bool = True
    c_extra_content: bool = False  # accepts Google's signatures in `extra_content`
    c_signed_calls: bool = False  # refuses a turn whose first call lacks such a signature
    c_fast_tier: bool = False  # accepts service_tier "fast"
    # read by the rules of chat/rules_out.py
    c_reasons: Literal["never", "asked", "unless_off", "always"] = "asked"  # asked: if an effort is set
    c_thinking_switch: Literal["none", "thinking", "enable_thinking"] = "none"  # the member that switches reasoning off
    c_sampling: Literal["full", "unless_reasoning", "none"] = "full"  # temperature, top_p
    c_tools: bool = True
    c_tools_beside_reasoning: bool = True  # supports function tools while the model reasons
    c_tool_choice: Literal["any", "required", "auto"] = "any"  # required: no named tool
    c_tool_choice_reasoning: Literal["any", "required", "auto"] = "any"  # the same while the model reasons
    c_mixed_strict: bool = True  # supports strict and other tools in one request
    c_letter_names: bool = False  # tool names must start with a letter
    c_call_ids: Literal["any", "nine"] = "any"  # nine: letters and digits
    c_user_after_tool: bool = True
    c_alternate: bool = False  # user and assistant messages must alternate
    c_null_content: bool = True  # supports null content next to tool calls
    c_empty_content: bool = True
    c_functions: bool = True  # supports `functions` and `function_call`, the older form of tools
    c_system_parts: bool = True  # supports system messages whose content is a list
    c_images: bool = True
    c_image_urls: bool = True  # otherwise only data URLs
    c_reasoning_required: bool = False  # in every assistant message
    c_max_output: int = 0  # tokens; 0: no known limit
    c_max_tools: int = 0  # 0: no known limit
    c_max_images: int = 0  # in one request; 0: no known limit
    c_prefill: Literal["any", "prefix", "none"] = "any"  # a last message of the assistant; prefix: marked by that member
    c_user_required: bool = False  # refuses a conversation without a message of the user
    c_max_temperature: int = 0  # 0: no known limit
    c_odd_arguments: bool = True  # supports arguments of earlier calls that are no JSON object
    c_output_subset: tuple[str, ...] = ()  # as schema_subset, of the schema of the answer
    c_json_object: bool = True
    c_json_with_tools: bool = True
    c_json_streams: bool = True  # supports structured output in a stream

    m_version: str = "2023-06-01"
    m_sampling: Literal["full", "temperature_or_top_p", "none"] = "temperature_or_top_p"
    m_thinking: Literal["none", "manual", "both", "adaptive", "adaptive_always"] = "adaptive"
    m_between_tools: bool = False  # thinking can be switched off but for that between calls of tools
    m_effort_values: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    m_structured_outputs: bool = True
    m_strict_tools: bool = True
    m_mid_system: bool = False
    m_prefill: bool = False
    m_max_output: int = 8192
    m_web_search: str = "web_search_20250305"  # the tool type to send; empty: not supported
    m_refused_tools: tuple[str, ...] = ()  # the beginnings of the types of tools that are left out
    m_tool_search: bool = False  # its own search of deferred tools
    m_first_user_required: bool = True
    m_output_format: bool = True  # accepts `output_format`, the older name of `output_config.format`
    m_count_tokens: bool = True
    m_tools_required_with_history: bool = False
    m_auto_cache: bool = False
    m_forced_tools: bool = True  # supports tool_choice any and tool
    m_fast_speed: bool = False  # accepts speed "fast"
    m_betas: bool = True  # accepts those values of `anthropic-beta` that the entry's patterns let through; else none
    m_block_binding: bool = False  # a thinking block is bound to everything before it unless `thinking.block_binding` changes that

    r_stateful: bool = True
    r_min_output_tokens: int = 16
    r_tools: tuple[str, ...] = ()  # the types of tools that callers of the same API may send; empty: all
    r_encrypted_reasoning: bool = True
    r_summaries: bool = True
    r_input_tokens: bool = True
    r_compact: bool = False  # compacts by itself: the trigger, the endpoint, `context_management`
    r_effort_values: tuple[str, ...] = EFFORTS  # empty: not a reasoning model
    r_sampling: Literal["full", "unless_reasoning"] = "full"  # temperature, top_p, top_logprobs
    r_numbered_calls: bool = False  # the ids of calls begin anew in each answer, as call_0
    r_required_tools: bool = True  # supports tool_choice required
    r_reasons: Literal["never", "asked", "unless_off"] = "asked"  # asked: if an effort is set
    r_empty_content: bool = True
    r_instructions_required: bool = False  # requires instructions and refuses system messages
    r_fast_tier: bool = False
    r_tool_search: bool = False  # as m_tool_search

    # Converse: of families of models. Claude's own settings are those of m.*
    v_answers: bool = True  # conversations; otherwise it embeds, ranks or draws
    v_tool_choice: bool = False  # accepts `any` and a named tool
    v_leading_assistant: bool = False
    v_beside_results: Literal["all", "none"] = "all"  # content beside tool results in one message
    v_result_media: Literal["none", "image", "image_and_text", "document", "all"] = "image"  # inside tool results
    v_reasoning_in: Literal["none", "signed", "text"] = "none"
    v_reasoning: Literal["none", "thinking", "reasoning_effort", "reasoning.effort", "reasoning_config", "reasoningConfig"] = "none"
    # thinking: of Claude. reasoningConfig: of Nova
    v_effort_in: Literal["fields", "output_config"] = "fields"  # where Claude's effort stands
    v_betas: tuple[str, ...] = ()  # patterns of the values of `anthropic-beta` that are sent
    v_effort_values: tuple[str, ...] = ()
    v_structured_outputs: bool = False  # and strict tools
    v_sampling: bool = True
    v_top_k: Literal["none", "top_k", "topK"] = "none"
    v_cache_points: int = 0  # at most; 0: none
    v_cache_long: bool = False  # for an hour
    v_cache_tools: bool = False  # also behind a tool
    v_system_inside: bool = False  # messages of the role system, for models with m_mid_system
    v_status: bool = True  # accepts the status of a tool result
    v_blank_text: bool = False
    v_json_results: bool = False  # tool results that are JSON objects are sent as such
    v_count_tokens: bool = True  # for models whose id names no geography
    v_max_output: int = 0  # tokens; 0: unknown
    v_web_search: str = ""  # the system tool that searches the web
    v_code: str = ""  # the one that runs code
    v_audio: bool = False
    v_video: bool = False
    v_s3: bool = False  # reads files at `s3://` by itself
    v_request_metadata: bool = False  # the caller's metadata and user are sent as the request's

    g_server: Literal["developer", "vertex"] = "developer"  # which of Google's services: they differ in a few members
    g_thinking: Literal["none", "budget", "level"] = "none"
    g_thinking_levels: tuple[str, ...] = ("low", "medium", "high")
    g_budget_min: int = 0
    g_budget_max: int = 24_576
    g_budget_off: bool = False  # a budget of 0 switches thinking off
    g_signatures: Literal["required", "kept", "none"] = "kept"  # required: the first call of each model turn must have one
    g_call_ids: bool = True
    g_json_schema: bool = True  # accepts JSON Schema; otherwise Google's own Schema is written
    g_integer_enums: bool = True  # in Google's own Schema
    g_validated: bool = True  # has the mode VALIDATED
    g_tools_mixed: bool = True  # accepts functions together with Google's own tools, and with structured output
    g_result_media: bool = True  # accepts media inside the result of a function
    g_sampling: Literal["full", "ignored"] = "full"  # ignored: temperature, top_p and top_k have no effect
    g_penalties: bool = False
    g_prefill: bool = False  # continues a last turn of the model
    g_logprobs: bool = False  # in whole answers
    g_max_output: int = 0  # tokens; 0: no known limit
    g_continuation: bool = False  # gives a long answer in several, each asked for with the token of the one before
    g_count_tokens: bool = True
    g_safety: tuple[str, ...] = ()  # CATEGORY=THRESHOLD, for callers of other APIs

    @property
    def at_detour(self) -> bool:
        """Whether the model is at the other of two paths."""
        return self.detour != self.misplaced

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any]) -> Capabilities:
        """Create from the configuration's dotted names. Raises KeyError for a name that is not a flag."""
        known = {f.name for f in fields(cls)} - {"known"}
        values: dict[str, Any] = {}
        for dotted, value in flags.items():
            name = dotted.replace(".", "_")
            if name not in known:
                raise KeyError(dotted)
            values[name] = tuple(value) if isinstance(value, list) else value
        return cls(known=frozenset(values), **values)

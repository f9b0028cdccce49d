"""Names and values that providers send in addition to their shape's reference, as data.

The decoders read these tables; a new deviation of a provider is a new entry here.
"""

from __future__ import annotations

import re

# chat: members of a delta or message with the model's reasoning; the first non-empty string is used (DeepSeek, SGLang and
# llama.cpp; vLLM, Groq and OpenRouter; older gateways)
REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")

# chat: what seals that reasoning, and goes back beside it (GitHub Copilot)
REASONING_OPAQUE = "reasoning_opaque"

# chat: top-level names of the cached share of prompt tokens (DeepSeek; Moonshot)
CACHED_TOKENS = ("prompt_cache_hit_tokens", "cached_tokens")

# chat: the member of a usage whose prompt had sound, which is in the total, but in neither side (Mistral's Voxtral)
SOUND = "prompt_audio_seconds"

# finish_reason, stop_reason and incomplete_details.reason -> neutral reason; FAILED if the answer broke off. One table for all shapes,
# because servers of one use the values of others, and of Google's and Amazon's own APIs. Keys are lower case with underscores, without
# the text after a colon: `ending` normalises a value and looks it up.
FAILED = "failed"
ENDINGS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "complete", "completed", "compaction"), "end"),
    "stop_sequence": "stop_sequence",
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call", "function_calls"), "tool"),
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "model_length", "token_limit", "continuation"), "length"
    ),
    **dict.fromkeys(("model_context_window_exceeded", "context_length_exceeded", "context_window_exceeded"), "context"),
    **dict.fromkeys(
        (
            # Azure; Bedrock; Z.ai; Cohere; OpenAI's codes
            *("content_filter", "content_filtered", "guardrail_intervened", "sensitive", "error_toxic", "content_policy_violation"),
            # Google
            *("safety", "recitation", "blocklist", "prohibited_content", "spii", "model_armor", "image_safety"),
            *("image_prohibited_content", "image_recitation", "language", "escalation", "pup_limited_disabled"),
        ),
        "filter",
    ),
    "refusal": "refusal",
    "pause_turn": "pause",
    **dict.fromkeys(
        (
            # OpenRouter, vLLM, Z.ai, DeepSeek, Cohere, and common names
            *("error", "abort", "aborted", "network_error", "insufficient_system_resource", "user_cancel", "cancelled", "canceled"),
            *("failed", "timeout", "internal_error", "server_error"),
            # Google: an invalid call, or too many
            *("function_call_filter", "malformed_function_call", "malformed_response", "unexpected_tool_call", "too_many_tool_calls"),
            *("missing_thought_signature", "no_image"),
            *("malformed_model_output", "malformed_tool_use"),  # Bedrock
        ),
        FAILED,
    ),
}


# what a finish reason that is in no table says by its parts, as Google's later ones do
_FILTERS = re.compile("safety|prohibited|block|recitation|armor")
_FAILURES = re.compile("malformed|unexpected|missing|too_many|error|fail")
_PARTS = ((_FILTERS, "filter"), (_FAILURES, FAILED))
# words of Google's for answers that broke off, spelt as Google does: elsewhere they mean nothing of the kind
_OF_GOOGLE = frozenset({"OTHER", "NO_IMAGE", "IMAGE_OTHER"})
_LONGEST = 100  # characters


def ending(word: str) -> str:
    """The neutral reason for an upstream's finish reason; FAILED for a failure, "" if it is unknown."""
    word = word.partition(":")[0].strip()
    if word in _OF_GOOGLE:
        return FAILED
    word = word.lower().replace("-", "_")
    neutral = ENDINGS.get(word)
    if neutral is None:
        neutral = next((reason for part, reason in _PARTS if part.search(word, 0, _LONGEST)), "")
    return neutral


# chat: members outside of the choices that list sources, the most detailed one first (Perplexity; xAI and others)
SOURCES = ("search_results", "citations")

# chat: members outside of the choices that are read, or that are irrelevant to a caller (OpenAI; OpenRouter; Azure; Groq; Cerebras;
# llama.cpp; Cohere and others)
BESIDE_CHOICES = frozenset(
    {
        *("id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint", "obfuscation", "error"),
        *("provider", "prompt_filter_results", "x_groq", "time_info", "timings", "p", "generationId", "request_id", "cost"),
        *("copilot_usage", "venice_parameters", "metadata", "stream_options", "sla_metrics", "meta", "stats", "type", "status"),
    }
)

# responses: members of a response that are read, or that are irrelevant to a caller of another shape
OF_A_RESPONSE = frozenset(
    {
        *("id", "object", "created_at", "completed_at", "status", "error", "incomplete_details", "output", "output_text", "usage"),
        *("model", "service_tier", "billing", "tool_usage", "copilot_usage", "content_filters", "total_tokens", "request_id", "cost"),
        # echoes of the request
        *("background", "conversation", "instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls"),
        *("previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning"),
        *("safety_identifier", "store", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user"),
        *("frequency_penalty", "presence_penalty", "context_management", "include", "stream"),
    }
)

# responses: prefixes of events with the progress of a hosted tool, or with content that its finished item repeats
PROGRESS = ("response.compaction.", "response.shell_call", "response.apply_patch_call", "response.tool_search_call")

# responses: name prefixes of custom tool calls that the provider made and answered itself (xAI's x_keyword_search, …), unless the
# client declared a tool of that name
HOSTED_CALLS = ("x_",)

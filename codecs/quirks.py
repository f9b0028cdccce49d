"""What providers send that their shape's reference does not: names and values, as data.

The decoders read these tables; a new oddity of a provider is a new entry here.
"""

from __future__ import annotations

# chat: where the model's reasoning stands in a delta or message; the first non-empty string counts (DeepSeek, SGLang and
# llama.cpp; vLLM, Groq and OpenRouter; older gateways)
REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")

# chat: top-level names of the cached share of prompt tokens (DeepSeek; Moonshot)
CACHED_TOKENS = ("prompt_cache_hit_tokens", "cached_tokens")

# chat: finish_reason -> neutral reason (Together says "eos", Mistral "model_length", Azure "content-filter", Z.ai "tool_call")
FINISH = {
    "stop": "end",
    "eos": "end",
    "end_turn": "end",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool",
    "tool_call": "tool",
    "tool_use": "tool",
    "function_call": "tool",
    "content_filter": "filter",
    "content-filter": "filter",
}

# chat: finish_reason values that say that the upstream failed (OpenRouter, vLLM)
FINISH_FAILED = frozenset({"error", "abort"})

# messages: stop_reason -> neutral reason
STOP_REASON = {
    "end_turn": "end",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool",
    "pause_turn": "pause",
    "refusal": "refusal",
    "model_context_window_exceeded": "context",
    "compaction": "end",
}

# responses: beginnings of the names of custom tool calls that the provider made and answered itself (xAI's x_keyword_search, …);
# one that the client declared is the client's
HOSTED_CALLS = ("x_",)

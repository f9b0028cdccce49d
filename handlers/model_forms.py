"""A model as the vendors' lists of models show it. What is unknown is left out, unless a form requires it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ..codecs.capabilities import EFFORTS
from ..conf.model import Facts, Price
from ..proxy.routing.router import ServedModel

Form = dict[str, Any]

# the real time is often unknown; a constant keeps answers equal
_UNKNOWN = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)

CODEX = """\
You are Codex, a coding agent that works with a user in a terminal, in a folder of files on the user's computer.

Work on the user's task until it is done, and then stop. Read the files that matter before you change them; search with `rg` where it is \
there. Make the smallest change that solves the task at its cause, in the style of the code around it, and leave unrelated code, \
comments and uncommitted changes of others alone. Follow the instructions in files named AGENTS.md for the folders that they stand in.

Use the tools that you are given as they are described; change files with `apply_patch` where you have it. Run the tests or the program \
to check what you did, when that is possible, and say so when it is not. Do not commit, push, delete, or reset anything in version control \
unless you are asked to.

At the end say briefly what you changed, where, and how you checked it. Write plain text; name files by their paths.
"""
"""Codex takes a model's instructions from its catalogue alone: without any it would have none. These are of the gateway's own."""

_LIFECYCLES = frozenset({"deprecated", "retired"})  # of Anthropic's reference; all others are active there
_PRICES = ("input", "output", "cached_input", "cache_write", "cache_write_1h", "web_search")


@lru_cache(4096)
def merged(model: ServedModel) -> Form:
    """For OpenAI's and Anthropic's SDKs at once (`Model` and `ModelInfo` of their references), with what else is known.

    Do not change the result.
    """
    facts = model.facts
    created = _created(facts)
    return {
        "id": model.id,
        "object": "model",
        "type": "model",
        "created": int(created.timestamp()),
        "created_at": _stamp(created),
        "owned_by": model.owned_by,
        "display_name": facts.display_name or model.id,
        "lifecycle": facts.lifecycle if facts.lifecycle in _LIFECYCLES else "active",
    } | _without_none(
        {
            "retires_at": facts.retired and _stamp(_moment(facts.retired)),
            "shutdown_date": facts.retired,
            "context_window": facts.context_window,
            "max_input_tokens": facts.max_input_tokens or facts.context_window,
            "max_tokens": facts.max_output_tokens,
            "max_output_tokens": facts.max_output_tokens,
            "input_modalities": facts.input_modalities,
            "output_modalities": facts.output_modalities,
            "efforts": facts.efforts,
            "knowledge_cutoff": facts.knowledge_cutoff,
            "capabilities": _capabilities(facts),
            "pricing": None if model.price is None else _pricing(model.price),
        }
    )


def codex(model: ServedModel, place: int) -> Form:
    """For Codex's catalogue of models: an entry that any of its versions reads, as vendors of other models publish theirs.

    Source: openai/codex, protocol/src/openai_models.rs (`ModelInfo`), and what Codex 0.171.0 decodes. place: in the list; a smaller one
    is shown first.
    """
    facts = model.facts
    efforts = facts.efforts or ()
    modalities = [one for one in ("text", "image") if one in (facts.input_modalities or ("text", "image"))]
    return {
        "slug": model.id,
        "display_name": facts.display_name or model.id,
        "description": facts.display_name or model.id,
        "supported_reasoning_levels": [{"effort": effort, "description": effort} for effort in efforts],
        "shell_type": "shell_command",
        "visibility": "hide" if facts.lifecycle == "retired" else "list",
        "supported_in_api": True,
        "priority": place,
        "availability_nux": None,
        "upgrade": None,
        "base_instructions": CODEX,
        "supports_reasoning_summaries": bool(efforts),
        "default_reasoning_summary": "none",
        "support_verbosity": False,
        "default_verbosity": None,
        "apply_patch_tool_type": "freeform",
        "truncation_policy": {"mode": "bytes", "limit": 10000},
        "supports_parallel_tool_calls": True,
        "experimental_supported_tools": [],
        "input_modalities": modalities,
    } | _without_none(
        {
            "default_reasoning_level": _usual(efforts),
            "context_window": facts.context_window,
            "max_context_window": facts.context_window,
        }
    )


def _usual(efforts: tuple[str, ...]) -> str | None:
    """The effort that Codex asks for by itself; None for a model without any."""
    return "medium" if "medium" in efforts else efforts[-1] if efforts else None


def _capabilities(facts: Facts) -> Form | None:
    """What is known of the members of Anthropic's `ModelCapabilities`."""
    members: Form = {}
    if facts.input_modalities is not None:
        members |= {f"{kind}_input": _support(kind in facts.input_modalities) for kind in ("image", "pdf")}
    if facts.efforts is not None:
        levels = {effort: _support(effort in facts.efforts) for effort in EFFORTS if effort not in ("none", "minimal")}
        members["effort"] = _support(bool(facts.efforts)) | levels
    return members or None


def _support(supported: bool) -> Form:
    return {"supported": supported}


def _pricing(price: Price) -> Form:
    """USD per million tokens, searches per thousand."""
    tiers = {tier: _prices(own) for tier, own in price.service_tiers}
    return {"currency": "USD", "per_tokens": 1_000_000, **_prices(price), **({"service_tiers": tiers} if tiers else {})}


def _prices(price: Price) -> Form:
    return _without_none({name: getattr(price, name) for name in _PRICES})


def _without_none(members: Form) -> Form:
    return {name: value for name, value in members.items() if value is not None}


def _created(facts: Facts) -> datetime:
    return _UNKNOWN if facts.released is None else _moment(facts.released)


def _moment(day: str) -> datetime:
    """The beginning of a day or a month."""
    try:
        return datetime.fromisoformat(day if len(day) > 7 else f"{day}-01").replace(tzinfo=UTC)
    except ValueError:  # a day that its month does not have
        return _UNKNOWN


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"

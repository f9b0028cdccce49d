"""Rules for what a gemini upstream refuses; codecs/rules.py applies them.

A caller of this API means what it writes. Of its body settings are looked at: they differ from model to model, and callers that know a
model by another name cannot know them. Of a history only calls and results are, which another model may have made. Source: Google,
"Thinking", "Thought signatures", November 2026, and recorded refusals.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import rules
from ..capabilities import EFFORTS, Capabilities
from ..errors import Unsupported
from ..ledger import concrete
from ..reasoning import nearest
from ..rules import Draft, Rule, whole
from .facts import DUMMY

BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}  # those of Google's OpenAI endpoint; above: the maximum
_CONFIG = ("generationConfig", "generation_config")
_THINKING = ("thinkingConfig", "thinking_config")
_BUDGET = ("thinkingBudget", "thinking_budget")
_LEVEL = ("thinkingLevel", "thinking_level")
_LIMIT = ("maxOutputTokens", "max_output_tokens")
_STOP = ("stopSequences", "stop_sequences")
_FUNCTIONS = frozenset({"functionDeclarations", "function_declarations"})
_MIME = ("responseMimeType", "response_mime_type")
_OUTPUT = frozenset({*_MIME, "responseSchema", "response_schema", "responseJsonSchema", "response_json_schema", "_responseJsonSchema"})
_RESULT = ("functionResponse", "function_response")
_SIGNATURES = frozenset({"thoughtSignature", "thought_signature"})
_DYNAMIC = -1
MOST_STOPS = 5


def fitted(budget: int, capabilities: Capabilities) -> int:
    """The nearest budget that the model takes; 0 switches thinking off where that can be done."""
    least, most = capabilities.g_budget_min, capabilities.g_budget_max
    return 0 if budget == 0 and capabilities.g_budget_off else min(max(budget, least), most)


def budget_of(effort: str, capabilities: Capabilities) -> int:
    return fitted(BUDGETS.get(effort, capabilities.g_budget_max), capabilities)


def fit_thinking(draft: Draft) -> None:
    """A budget for a model that has no levels, and a budget or a level that the model takes."""
    outer, inner = place_of_thinking(draft.body)
    config = draft.body.get(outer)
    thinking = config.get(inner) if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(thinking, dict):
        return
    budget, level = _spelled(thinking, _BUDGET), _spelled(thinking, _LEVEL)
    by_budget = draft.capabilities.g_thinking == "budget"
    sent = (_to_budget if by_budget else _to_level)(thinking, budget, level, draft.capabilities)
    if sent is not thinking:
        draft.body[outer] = config | {inner: sent}
        draft.request.ledger.adapt((outer, inner), sent.get(budget if by_budget else level))


def fit_settings(draft: Draft) -> None:
    """The token limit and the number of stop sequences that are taken."""
    outer, most = _spelled(draft.body, _CONFIG), draft.capabilities.g_max_output
    config = draft.body.get(outer)
    if isinstance(config, dict):
        limit, stop = _spelled(config, _LIMIT), _spelled(config, _STOP)
        if most and whole(config.get(limit)) and config[limit] > most:
            draft.body[outer] = config = config | {limit: most}
            draft.request.ledger.adapt((outer, limit), most)
        if isinstance(config.get(stop), list) and len(config[stop]) > MOST_STOPS:
            draft.body[outer] = config | {stop: config[stop][:MOST_STOPS]}
            draft.request.ledger.drop((outer, stop))


def leave_out_output_beside_functions(draft: Draft) -> None:
    """As an encoder does: the functions are what an agent cannot do without."""
    outer, tools = _spelled(draft.body, _CONFIG), draft.body.get("tools")
    config = draft.body.get(outer)
    if (
        not isinstance(config, dict)
        or not isinstance(tools, list)
        or not any(isinstance(one, dict) and _FUNCTIONS & one.keys() for one in tools)
    ):
        return
    mime = _spelled(config, _MIME)
    if config.get(mime) == "application/json":
        draft.body[outer] = {name: value for name, value in config.items() if name not in _OUTPUT}
        draft.request.ledger.drop((outer, mime))


def sign_calls(draft: Draft) -> None:
    """Put the stand-in on the first call of a turn that no signature came with, as of a model that gives none."""

    def signed(content: dict[str, Any]) -> dict[str, Any]:
        if content.get("role") != "model":
            return content
        parts = _objects(content.get("parts"))
        first = next((n for n, part in enumerate(parts) if "functionCall" in part or "function_call" in part), None)
        if first is None or not _SIGNATURES.isdisjoint(parts[first]):
            return content
        return content | {"parts": [*parts[:first], parts[first] | {"thoughtSignature": DUMMY}, *parts[first + 1 :]]}

    if draft.each("contents", signed):
        draft.request.ledger.adapt(("contents",))


def move_media(draft: Draft) -> None:
    """Move media out of the results of functions, into a content behind these, as an encoder writes them."""
    contents: list[Any] = []
    moved = False
    for content in draft.all_of("contents"):
        behind: list[Any] = []
        parts = [] if content.get("role") == "model" else [_emptied(part, behind) for part in _objects(content.get("parts"))]
        contents.append(content | {"parts": parts} if behind else content)
        if behind:
            contents.append({"role": "user", "parts": behind})
            moved = True
    if moved:
        draft.body["contents"] = contents
        draft.request.ledger.adapt(("contents",))


def _emptied(part: dict[str, Any], behind: list[Any]) -> dict[str, Any]:
    """The part without the media of a result, which are added to what stands behind."""
    if "functionResponse" not in part and "function_response" not in part:
        return part
    name = _spelled(part, _RESULT)
    result = part.get(name)
    media = result.get("parts") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(media, list) or not media:
        return part
    behind += [{"text": f"Output of {str(result.get('name'))[:64]}:"}, *media]
    return part | {name: {key: value for key, value in result.items() if key != "parts"}}


def refuse_prefill(draft: Draft) -> None:
    """Of a model that does not go on with an answer: what is none yet is left out. Raises Unsupported for the beginning of one."""
    contents = draft.body.get("contents")
    last = contents[-1] if isinstance(contents, list) and contents else None
    parts = _objects(last.get("parts")) if isinstance(last, dict) and last.get("role") == "model" else []
    if not isinstance(contents, list) or not parts or not all(isinstance(part.get("text"), str) for part in parts):
        return
    if len(contents) == 1 or any(part["text"].strip() for part in parts):
        raise Unsupported("this model does not accept assistant prefill", param=concrete(("contents", len(contents) - 1)))
    draft.body["contents"] = contents[:-1]
    draft.request.ledger.adapt(("contents",))


def _objects(parts: Any) -> list[dict[str, Any]]:
    """The parts of a content; none where one is of another form."""
    if not isinstance(parts, list):
        return []
    for part in parts:
        if not isinstance(part, dict):
            return []
    return parts


def place_of_thinking(body: dict[str, Any]) -> tuple[str, str]:
    """Where the settings of thinking stand."""
    outer = _spelled(body, _CONFIG)
    config = body.get(outer)
    return outer, _spelled(config, _THINKING) if isinstance(config, dict) else _THINKING[0]


def _to_budget(thinking: dict[str, Any], budget: str, level: str, can: Capabilities) -> dict[str, Any]:
    asked, wanted = _effort(thinking.get(level)), thinking.get(budget)
    if level in thinking:
        rest = {name: value for name, value in thinking.items() if name != level}
        return rest if wanted is not None or asked is None else rest | {budget: budget_of(asked, can)}
    if not whole(wanted) or wanted <= _DYNAMIC or fitted(wanted, can) == wanted:
        return thinking
    return thinking | {budget: fitted(wanted, can)}


def _to_level(thinking: dict[str, Any], budget: str, level: str, can: Capabilities) -> dict[str, Any]:
    asked = _effort(thinking.get(level))
    sent = None if asked is None else nearest(asked, can.g_thinking_levels)
    return thinking if sent in (None, asked) else thinking | {level: str(sent).upper()}


def _effort(level: object) -> str | None:
    """A level as the effort that it is; None of what is none."""
    return level.lower() if isinstance(level, str) and level.lower() in EFFORTS else None


def _spelled(message: dict[str, Any], names: tuple[str, str]) -> str:
    """A member's name as it is spelled in this message."""
    return names[1] if names[1] in message and names[0] not in message else names[0]


RULES: tuple[Rule[Draft], ...] = (
    # the table's `leave_out` is of Google's OpenAI-compatible API
    *(replace(rule, of="written") for rule in rules.LEAVE_OUT),
    Rule(lambda can: True, fit_settings, of="carried", rests_on="g_thinking"),
    Rule(lambda can: not can.g_tools_mixed, leave_out_output_beside_functions, of="carried"),
    Rule(lambda can: can.g_signatures == "required", sign_calls, of="carried", rests_on="g_signatures", walks=True),
    Rule(lambda can: not can.g_result_media, move_media, of="carried", walks=True),
    Rule(lambda can: not can.g_prefill, refuse_prefill, of="carried", rests_on="g_prefill"),
    # of models that do not think some refuse all settings of it: see `lessons.py`
    Rule(lambda can: can.g_thinking != "none", fit_thinking, of="carried", rests_on="g_thinking"),
)

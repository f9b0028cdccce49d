"""Rules for what a responses upstream refuses, alone or in combination; codecs/rules.py applies them."""

from __future__ import annotations

from typing import Any

from .. import openai, subsets
from ..anything import at
from ..capabilities import EFFORTS, Capabilities
from ..errors import Malformed
from ..reasoning import nearest
from ..rules import LEAVE_OUT, Draft, Rule, whole
from ..schema import Room

NO_INSTRUCTIONS = "You are a helpful assistant."  # used if instructions are required and the caller sent none
ENCRYPTED = "reasoning.encrypted_content"
_SAMPLING = ("temperature", "top_p", "top_logprobs")


class ResponsesDraft(Draft):
    @property
    def reasons(self) -> bool:
        return reasons(self.body, self.capabilities)


def reasons(body: dict[str, Any], capabilities: Capabilities) -> bool:
    """Whether the model reasons when it is sent this body, as far as the settings in it tell."""
    effort = at(body, "reasoning", "effort")
    if capabilities.r_reasons == "never" or effort == "none":
        return False
    return capabilities.r_reasons == "unless_off" or effort is not None


def refuses(body: dict[str, Any], capabilities: Capabilities, own: bool) -> bool:
    """Whether this API refuses the body: a call that is required, of a model that takes that over another API."""
    if capabilities.r_required_tools:
        return False
    choice = body.get("tool_choice")
    return choice == "required" or (isinstance(choice, dict) and choice.get("type") == "any")  # of messages callers


def fit_effort(draft: ResponsesDraft) -> None:
    """The nearest effort that the model takes, of a model that does not reason none; an encoder has asked that before."""
    asked, takes = draft.body.get("reasoning"), draft.capabilities.r_effort_values
    effort = asked.get("effort") if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or effort in takes or effort not in EFFORTS:
        return
    sent = None if effort == "none" else nearest(effort, takes)
    if sent is None:
        draft.drop("reasoning.effort")
        return
    draft.body["reasoning"] = asked | {"effort": sent}
    draft.request.ledger.adapt(("reasoning", "effort"), sent)


def leave_out_summary(draft: ResponsesDraft) -> None:
    draft.drop("reasoning.summary")


def leave_out_sealed_reasoning(draft: ResponsesDraft) -> None:
    """What a model that does not reason cannot give."""
    include = draft.body.get("include")
    if not isinstance(include, list) or ENCRYPTED not in include:
        return
    draft.body["include"] = [one for one in include if one != ENCRYPTED]
    if not draft.body["include"]:
        del draft.body["include"]
    draft.request.ledger.drop((f"include[{ENCRYPTED}]",))


def raise_limit(draft: ResponsesDraft) -> None:
    least, limit = draft.capabilities.r_min_output_tokens, draft.body.get("max_output_tokens")
    if whole(limit) and 0 < limit < least:
        draft.body["max_output_tokens"] = least
        draft.adapt("max_output_tokens", least)


def leave_out_sampling(draft: ResponsesDraft) -> None:
    if not draft.reasons:
        return
    for member in _SAMPLING:
        if member != "top_logprobs":
            draft.leave_default(member, 1)
        draft.drop(member)


def adjust_schemas(draft: ResponsesDraft) -> None:
    """Of a body that is carried what nobody refuses is not said; see `lessons.MISSING_PROPERTIES`."""
    subset = draft.capabilities.schema_subset
    complete = "complete" in subset and not draft.own
    changed: list[bool] = []
    room = Room()

    def adjust(tool: dict[str, Any]) -> dict[str, Any]:
        schema = tool.get("parameters")
        if tool.get("type") != "function" or not isinstance(schema, dict):
            return tool
        restricted = subsets.restricted(schema, subset, room)
        changed.append(restricted is not schema)
        taken = subsets.completed(restricted) if complete else restricted
        return tool if taken is schema else tool | {"parameters": taken}

    draft.each("tools", adjust)
    if any(changed):
        draft.request.ledger.adapt(("tools",))


def leave_out_tools(draft: ResponsesDraft) -> None:
    """Tools of other types than this upstream takes."""
    tools, takes = draft.body.get("tools"), draft.capabilities.r_tools
    if not isinstance(tools, list):
        return
    gone = {place: tool for place, tool in enumerate(tools) if isinstance(tool, dict) and tool.get("type") not in takes}
    if not gone:
        return
    for place, tool in gone.items():
        draft.request.ledger.drop(("tools", place), str(tool.get("type"))[:64])
    draft.body["tools"] = [tool for place, tool in enumerate(tools) if place not in gone]


def require_instructions(draft: ResponsesDraft) -> None:
    """Move system messages into the instructions, which this upstream requires."""
    instructions, asked = draft.body.get("instructions"), draft.body.get("input")
    texts = [instructions] if isinstance(instructions, str) and instructions else []
    items: list[Any] = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked if isinstance(asked, list) else []
    others = []
    for item in items:
        system_texts = _texts_of(item) if isinstance(item, dict) and item.get("role") == "system" else None
        if system_texts is None:
            others.append(item)
        else:
            texts += system_texts
    if items and (others != items or isinstance(asked, str)):
        draft.body["input"] = others
    if len(others) != len(items):
        draft.moved()
    elif draft.own and not texts:
        draft.adapt("instructions")
    if texts != [instructions]:
        draft.body["instructions"] = "\n\n".join(texts) or NO_INSTRUCTIONS


def _texts_of(item: dict[str, Any]) -> list[str] | None:
    """The texts of a message; None when it has another form."""
    content = item.get("content")
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return None
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return [text for text in texts if isinstance(text, str)]


def name_json(draft: ResponsesDraft) -> None:
    """See `openai.saying_json`."""
    text = draft.body.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    if not isinstance(form, dict) or form.get("type") != "json_object":
        return
    body_input = draft.body.get("input")
    items = openai.saying_json([{"role": "user", "content": body_input}] if isinstance(body_input, str) else body_input, "input_text")
    if items is not None:
        draft.body["input"] = items[0]["content"] if isinstance(body_input, str) else items
        draft.adapt("input")


def leave_out_empty_messages(draft: ResponsesDraft) -> None:
    """Messages of nothing; an encoder writes none. Raises Malformed where nothing else is there."""
    items = draft.body.get("input")
    remaining = [item for item in items if not _is_empty(item)] if isinstance(items, list) else []
    if isinstance(items, list) and len(remaining) != len(items):
        if not remaining:
            raise Malformed("input: at least one message is required", code="invalid_value", param="input")
        draft.body["input"] = remaining
        draft.moved()


def _is_empty(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("type", "message") != "message":
        return False
    content = item.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text", part) if isinstance(part, dict) else part for part in parts]
    return all(text in ("", None) for text in texts)


RULES: tuple[Rule[ResponsesDraft], ...] = (
    *LEAVE_OUT,
    Rule(lambda can: any(can.schema_subset), adjust_schemas, of="written"),
    Rule(lambda can: any(one != "complete" for one in can.schema_subset) and not can.openai_host, adjust_schemas, of="carried", walks=True),
    Rule(lambda can: True, fit_effort, of="carried", rests_on="r_effort_values"),
    Rule(lambda can: not can.r_summaries, leave_out_summary, of="carried"),
    Rule(lambda can: not can.r_encrypted_reasoning, leave_out_sealed_reasoning, of="carried"),
    Rule(lambda can: can.openai_host, raise_limit, of="carried"),
    Rule(lambda can: can.openai_host, name_json, of="carried"),
    Rule(lambda can: can.r_sampling != "full", leave_out_sampling),
    Rule(lambda can: bool(can.r_tools), leave_out_tools, of="carried"),
    Rule(lambda can: not can.r_empty_content, leave_out_empty_messages, of="carried", walks=True),
    Rule(lambda can: can.r_instructions_required, require_instructions, walks=True),
)

"""Rules for what a responses upstream refuses, alone or in combination; codecs/rules.py applies them."""

from __future__ import annotations

from typing import Any

from .. import subsets
from ..capabilities import Capabilities
from ..rules import Draft, Rule, leave_out

NO_INSTRUCTIONS = "You are a helpful assistant."  # used if instructions are required and the caller sent none
_SAMPLING = ("temperature", "top_p", "top_logprobs")


class ResponsesDraft(Draft):
    @property
    def reasons(self) -> bool:
        return reasons(self.body, self.capabilities)


def reasons(body: dict[str, Any], capabilities: Capabilities) -> bool:
    """Whether the model reasons when it is sent this body, as far as the settings in it tell."""
    asked = body.get("reasoning")
    effort = asked.get("effort") if isinstance(asked, dict) else None
    if capabilities.r_reasons == "never" or effort == "none":
        return False
    return capabilities.r_reasons == "unless_off" or effort is not None


def leave_out_sampling(draft: ResponsesDraft) -> None:
    if not draft.reasons:
        return
    for member in _SAMPLING:
        if member != "top_logprobs" and draft.body.get(member) == 1:
            del draft.body[member]  # the default value: nothing is lost
        draft.drop(member)


def adjust_schemas(draft: ResponsesDraft) -> None:
    for tool in draft.body.get("tools", ()):
        schema = tool.get("parameters")
        if tool.get("type") != "function" or not isinstance(schema, dict):
            continue
        restricted = subsets.restricted(schema, draft.capabilities.schema_subset)
        if restricted is not schema:
            draft.request.ledger.adapt(("tools",))
        tool["parameters"] = subsets.completed(restricted) if "complete" in draft.capabilities.schema_subset else restricted


def require_instructions(draft: ResponsesDraft) -> None:
    """Move system messages into the instructions, which this upstream requires."""
    texts = [draft.body["instructions"]] if draft.body.get("instructions") else []
    items: list[dict[str, Any]] = []
    for item in draft.body["input"]:
        if item.get("role") == "system":
            content = item["content"]
            texts += [content] if isinstance(content, str) else [part["text"] for part in content if "text" in part]
        else:
            items.append(item)
    if len(items) != len(draft.body["input"]):
        draft.request.ledger.adapt(draft.history)
    draft.body["instructions"] = "\n\n".join(texts) or NO_INSTRUCTIONS
    draft.body["input"] = items


RULES: tuple[Rule[ResponsesDraft], ...] = (
    Rule(lambda can: bool(can.leave_out), leave_out),
    Rule(lambda can: bool(can.schema_subset), adjust_schemas),
    Rule(lambda can: can.r_sampling != "full", leave_out_sampling),
    Rule(lambda can: can.r_instructions_required, require_instructions),
)

"""Rules for what a messages upstream refuses in combination; codecs/rules.py applies them.

Source: Anthropic API reference, "Extended thinking" (feature compatibility), "Tool use", "Prompt caching".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .. import outputs, subsets
from .. import schema as schemas
from ..anything import at, dict_of, list_of
from ..capabilities import EFFORTS, Capabilities
from ..errors import Unsupported
from ..ledger import Path, concrete
from ..reasoning import budget_of_effort, effort_of_budget, nearest
from ..rules import LEAVE_OUT, Draft, Rule, whole

_THOUGHTS = ("thinking", "redacted_thinking")
_LEAST_TOP_P = 0.95  # the lowest top_p allowed while the model thinks
DEPTH = 2  # of `content`: a message's and a result's
LEAST_BUDGET = 1024  # tokens
_EFFORTS_OF_THOUGHT = ("xhigh", "max")  # only allowed with thinking
_LOOSELY = {"prefix_mismatch_behavior": "drop_block"}


@dataclass(slots=True)
class MessagesDraft(Draft):
    """mixed_marks: the cache marks have both lifetimes."""

    mixed_marks: bool = True

    def member(self, name: str) -> dict[str, Any]:
        """An object of the body; {} when there is none."""
        return dict_of(self.body, name)

    @property
    def thinks(self) -> bool:
        return reasons(self.body, self.capabilities)

    @property
    def forced(self) -> bool:
        return self.member("tool_choice").get("type") in ("any", "tool")

    @property
    def effort(self) -> Any:
        return self.member("output_config").get("effort")

    @effort.setter
    def effort(self, effort: str) -> None:
        self.body["output_config"] = self.member("output_config") | {"effort": effort}

    def stop_thinking(self) -> None:
        """Disable thinking, because another request of the caller excludes it and has no alternative."""
        if "thinking" not in self.body or self.capabilities.m_thinking == "adaptive_always":
            return
        self.body["thinking"] = {"type": "disabled"}
        if self.effort in _EFFORTS_OF_THOUGHT:
            self.effort = "high"
        self.adapt("thinking")


def reasons(body: dict[str, Any], capabilities: Capabilities) -> bool:
    """Whether the body enables thinking, or the model always thinks."""
    asked = at(body, "thinking", "type")
    return asked in ("enabled", "adaptive") or (asked is None and capabilities.m_thinking == "adaptive_always")


def choose_tool(draft: MessagesDraft) -> None:
    """Replace a forced tool, which some models refuse: only the named tool is offered and the choice is left to the model."""
    if not draft.forced:
        return
    choice = draft.body["tool_choice"]
    if choice["type"] == "tool":
        offered = [tool for tool in draft.all_of("tools") if tool.get("name") == choice.get("name")]
        if not offered:
            return  # the upstream will say so
        draft.body["tools"] = offered
    draft.body["tool_choice"] = {key: value for key, value in choice.items() if key != "name"} | {"type": "auto"}
    draft.adapt("tool_choice", "auto")


def force_without_thinking(draft: MessagesDraft) -> None:
    if draft.forced and draft.thinks:
        draft.stop_thinking()


def prefill_without_thinking(draft: MessagesDraft) -> None:
    messages = draft.body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if isinstance(last, dict) and last.get("role") == "assistant" and draft.thinks:
        draft.stop_thinking()


def refuse_prefill(draft: MessagesDraft) -> None:
    """Of a model that does not go on with an answer: what is none yet is left out. Raises Unsupported for the beginning of one.

    What ends otherwise than with a text is no beginning: a paused turn comes back so, to be resumed.
    """
    messages = draft.body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(messages, list) or not isinstance(last, dict) or last.get("role") != "assistant":
        return
    texts = [block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None for block in _written(last)]
    if None in texts:
        return
    if any(str(text).strip() for text in texts) or len(messages) == 1:
        raise Unsupported("this model does not accept assistant prefill", param=concrete(("messages", len(messages) - 1)))
    draft.body["messages"] = messages[:-1]
    draft.moved()


# where a schema for the answer stands, and stood before it had its place
_FORMATS = ("output_config", "format"), ("output_format",)


def restrict_output(draft: MessagesDraft) -> None:
    """The schema of the answer in the form that is taken: closed objects, without bounds. Raises Unsupported for a recursive one."""
    for path in _FORMATS:
        *outer, name = path
        holder = draft.member(outer[0]) if outer else draft.body
        form = holder.get(name)
        schema = form.get("schema") if isinstance(form, dict) else None
        if not isinstance(form, dict) or not isinstance(schema, dict):
            continue
        normal = schemas.norm(schema, (*path, "schema"))
        if normal.changed:
            taken = form | {"schema": normal.schema}
            draft.body[path[0]] = holder | {name: taken} if outer else taken
            draft.request.ledger.adapt(path)


def leave_out_output(draft: MessagesDraft) -> None:
    """The schema is said in words instead; see `outputs.say_schema` for callers of other APIs."""
    for path in _FORMATS:
        schema = at(draft.body, *path, "schema")
        messages = outputs.noted(draft.body.get("messages"), outputs.in_words(schema)) if isinstance(schema, dict) else None
        draft.drop(".".join(path))
        if messages is not None:
            draft.body["messages"] = messages
            draft.moved()


def leave_out_tools(draft: MessagesDraft) -> None:
    """Tools of types that this upstream does not have, and a choice of one."""
    tools, refused = draft.body.get("tools"), draft.capabilities.m_refused_tools
    if not isinstance(tools, list):
        return
    gone = {place: tool for place, tool in enumerate(tools) if isinstance(tool, dict) and str(tool.get("type")).startswith(refused)}
    if not gone:
        return
    for place, tool in gone.items():
        draft.request.ledger.drop(("tools", place), str(tool["type"])[:64])
    left = [tool for place, tool in enumerate(tools) if place not in gone]
    if not left or draft.member("tool_choice").get("name") in [tool.get("name") for tool in gone.values()]:
        draft.drop("tool_choice")
    if left:
        draft.body["tools"] = left
    else:
        del draft.body["tools"]


def declare_called_tools(draft: MessagesDraft) -> None:
    """Declare the tools of a history of calls, and forbid calls: it is refused without tools. So is a choice of none."""
    if draft.body.get("tools"):
        return
    blocks = (block for message in draft.all_of("messages") for block in _blocks(message))
    called = (block.get("name") for block in blocks if isinstance(block, dict) and block.get("type") == "tool_use")
    names = dict.fromkeys(name for name in called if isinstance(name, str))
    if names:
        draft.body["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in names]
        draft.body["tool_choice"] = {"type": "none"}
        draft.request.ledger.adapt(("tools",))
    else:
        draft.drop("tool_choice")


def lift_systems(draft: MessagesDraft) -> None:
    """Move messages of the system into `system`, of a caller that does not know which model is asked."""
    body = systems_lifted(draft.body)
    if body is not draft.body:
        draft.body = body
        draft.moved()


def systems_lifted(body: dict[str, Any]) -> dict[str, Any]:
    """The body with its messages of the system in `system`; the same object if it has none."""
    messages = body.get("messages")
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages] if isinstance(messages, list) else []
    if not isinstance(messages, list) or "system" not in roles:
        return body
    lifted = [block for message in messages if isinstance(message, dict) and message.get("role") == "system" for block in _written(message)]
    rest = [message for message, role in zip(messages, roles, strict=True) if role != "system"]
    if not rest:  # only instructions: they become the user's message
        return body | {"messages": [{"role": "user", "content": lifted}]}
    return body | {"messages": rest, "system": [*_written({"content": body.get("system")}), *lifted]}


def _written(message: dict[str, Any]) -> list[Any]:
    """The blocks of a message, one of its text."""
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) and content else _blocks(message)


# ---- thinking and effort of a caller that speaks this API; an encoder writes them as the model has them ----


def fit_thinking(draft: MessagesDraft) -> None:
    """A budget for a model that thinks as it sees fit, or the reverse, and no `disabled` for one that always thinks."""
    mode, thinking = draft.capabilities.m_thinking, draft.member("thinking")
    kind, effort = thinking.get("type"), draft.effort
    if kind == "enabled" and mode in ("adaptive", "adaptive_always"):
        budget = thinking.get("budget_tokens")
        draft.body["thinking"] = {name: value for name, value in thinking.items() if name != "budget_tokens"} | {"type": "adaptive"}
        if effort is None and whole(budget):
            draft.effort = effort_of_budget(budget)
    elif kind == "disabled" and mode == "adaptive_always" and not ("between_tools" in thinking and draft.capabilities.m_between_tools):
        del draft.body["thinking"]
        draft.effort = "low" if effort is None else effort
    elif kind == "adaptive" and mode == "manual":
        _give_budget(draft, budget_of_effort(effort if effort in EFFORTS else "medium"))
    elif kind in ("enabled", "adaptive") and mode == "none":
        draft.drop("thinking")
        return
    else:
        return
    draft.adapt("thinking")


def _give_budget(draft: MessagesDraft, wanted: int) -> None:
    """Thinking with a budget; none where the turn that goes on began without thoughts, which the API refuses then."""
    draft.body["thinking"] = thinking_within(wanted, draft.body.get("max_tokens"))
    if calls_without_thought(draft.body):
        draft.body["thinking"] = {"type": "disabled"}


def thinking_within(wanted: int, limit: object) -> dict[str, Any]:
    """Thinking within a budget of the token limit; none at all where that is too small for both."""
    budget = min(wanted, limit - LEAST_BUDGET) if whole(limit) else wanted
    return {"type": "enabled", "budget_tokens": budget} if budget >= LEAST_BUDGET else {"type": "disabled"}


def fit_effort(draft: MessagesDraft) -> None:
    """The nearest effort that the model takes."""
    asked, takes = draft.effort, draft.capabilities.m_effort_values
    if asked not in EFFORTS:
        return
    sent = nearest(asked, takes)
    if sent in _EFFORTS_OF_THOUGHT and draft.member("thinking").get("type") == "disabled":
        sent = "high"
    if sent is None:
        draft.drop("output_config.effort")
    elif sent != asked:
        draft.effort = sent
        draft.request.ledger.adapt(("output_config", "effort"), sent)


def leave_out_sampling(draft: MessagesDraft) -> None:
    """An encoder writes what the model takes."""
    if draft.capabilities.m_sampling == "none":
        draft.leave_default("temperature", 1)
        draft.leave_default("top_p", 1)
        for member in ("temperature", "top_p", "top_k"):
            draft.drop(member)
    elif draft.capabilities.m_sampling == "temperature_or_top_p" and draft.body.get("temperature") is not None:
        draft.leave_default("top_p", 1)
        draft.drop("top_p")


def calls_without_thought(body: dict[str, Any]) -> bool:
    """Whether thinking with a budget is enabled and the turn being continued does not start with thinking, as the API requires."""
    thinking, messages = body.get("thinking"), body.get("messages")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled" or not isinstance(messages, list):
        return False
    for message in reversed(messages):
        content, role = (message.get("content"), message.get("role")) if isinstance(message, dict) else (None, None)
        kinds = [block.get("type") if isinstance(block, dict) else "" for block in content] if isinstance(content, list) else ["text"]
        if role == "user" and "tool_result" not in kinds:
            return False
        if role == "assistant" and "tool_use" in kinds and kinds[0] not in _THOUGHTS:
            return True
    return False


def go_on_without_thinking(draft: MessagesDraft) -> None:
    """Disable thinking if that of the continued turn is missing: another model began it, or the caller does not store it."""
    if calls_without_thought(draft.body):
        draft.stop_thinking()


def bind_loosely(draft: MessagesDraft) -> None:
    """If earlier thinking is bound to its prefix, let the provider drop a block whose prefix has changed.

    A translation cannot guarantee a stable prefix: the caller may add a tool or insert text before it.
    """
    thought = any(block.get("type") in _THOUGHTS for message in draft.body["messages"] for block in _blocks(message))
    if thought and draft.thinks:
        draft.body["thinking"] = draft.body.get("thinking", {"type": "adaptive"}) | {"block_binding": dict(_LOOSELY)}


def _blocks(message: dict[str, Any]) -> list[Any]:
    return list_of(message, "content")


def sample_beside_thinking(draft: MessagesDraft) -> None:
    if not draft.thinks:
        return
    if draft.body.get("temperature", 1) != 1:
        draft.drop("temperature")
    top_p = draft.body.get("top_p")
    if isinstance(top_p, int | float) and top_p < _LEAST_TOP_P:
        draft.drop("top_p")
    draft.drop("top_k")


def restrict_schemas(draft: MessagesDraft) -> None:
    subset, room = draft.capabilities.schema_subset, schemas.Room()

    def restrict(tool: dict[str, Any]) -> dict[str, Any]:
        schema = tool.get("input_schema")
        restricted = subsets.restricted(schema, subset, room) if isinstance(schema, dict) else schema
        return tool if restricted is schema else tool | {"input_schema": restricted}

    if draft.each("tools", restrict):
        draft.request.ledger.adapt(("tools",))


def order_lifetimes(draft: MessagesDraft) -> None:
    """Make short-lived breakpoints before the last long-lived one long-lived: a long one may not follow a short one."""
    if not draft.mixed_marks:
        return
    for mark in short_marks(draft.body):
        mark["ttl"] = "1h"
        draft.moved()


def name_output_format(draft: MessagesDraft) -> None:
    """The format of the answer by its newer name."""
    body, path = format_renamed(draft.body)
    if path is not None:
        draft.body = body
        draft.adapt("output_format")


def format_renamed(body: dict[str, Any]) -> tuple[dict[str, Any], Path | None]:
    """A body that says `output_config.format` for `output_format`, and the path of that; the same body where it is not there."""
    if "output_format" not in body:
        return body, None
    format = {"format": body["output_format"]} if body["output_format"] is not None else {}
    whole = format | dict_of(body, "output_config")
    rest = {name: value for name, value in body.items() if name not in ("output_format", "output_config")}
    return (rest | {"output_config": whole} if whole else rest), ("output_format",)


def short_marks(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Cache marks that live too short to stand before a long one."""
    marks = [block["cache_control"] for block in marked(body) if isinstance(block["cache_control"], dict)]
    last = max((n for n, mark in enumerate(marks) if mark.get("ttl") == "1h"), default=0)
    return [mark for mark in marks[:last] if mark.get("ttl") != "1h"]


def marked(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks that end a cached prefix, in order."""
    return [block for name in ("tools", "system", "messages") for block in _marked(body.get(name), DEPTH)]


def _marked(blocks: Any, depth: int) -> Iterator[dict[str, Any]]:
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict):
            if depth:
                yield from _marked(block.get("content"), depth - 1)
            if block.get("cache_control") is not None:
                yield block


RULES: tuple[Rule[MessagesDraft], ...] = (
    *LEAVE_OUT,
    Rule(lambda can: bool(can.schema_subset), restrict_schemas),
    Rule(lambda can: not can.m_output_format, name_output_format, of="carried"),
    Rule(lambda can: bool(can.m_refused_tools), leave_out_tools, of="carried"),
    Rule(lambda can: can.m_tools_required_with_history, declare_called_tools, of="carried", walks=True),
    Rule(lambda can: can.m_structured_outputs, restrict_output, of="carried", rests_on="m_structured_outputs"),
    Rule(lambda can: not can.m_structured_outputs, leave_out_output, of="carried"),
    Rule(lambda can: not can.m_forced_tools, choose_tool),
    Rule(lambda can: not can.m_mid_system, lift_systems, of="carried", rests_on="m_thinking"),
    Rule(lambda can: not can.m_prefill, refuse_prefill, of="carried", rests_on="m_prefill"),  # after what may leave an answer last
    Rule(lambda can: True, fit_thinking, of="carried", rests_on="m_thinking"),
    Rule(lambda can: can.m_thinking != "none", force_without_thinking, rests_on="m_thinking"),
    Rule(lambda can: can.m_thinking != "none", prefill_without_thinking, rests_on="m_thinking"),
    # a caller's own history is looked through only once it was refused; see `lessons.py`
    Rule(lambda can: can.m_thinking == "manual", go_on_without_thinking, of="written"),
    Rule(lambda can: True, fit_effort, of="carried", rests_on="m_effort_values"),
    Rule(lambda can: can.m_sampling != "full", leave_out_sampling, of="carried", rests_on="m_sampling"),
    Rule(lambda can: can.m_thinking != "none", sample_beside_thinking, rests_on="m_thinking"),  # after what may stop it
    Rule(lambda can: can.m_block_binding, bind_loosely, of="written"),
    Rule(lambda can: True, order_lifetimes, of="written"),
)

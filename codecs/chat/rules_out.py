"""Rules for what a chat upstream refuses, alone or in combination; codecs/rules.py applies them.

The order of RULES matters only where a row says so. conf/providers.yaml and conf/models.yaml say which upstreams a rule applies to.
"""

from __future__ import annotations

from typing import Any

from .. import subsets
from ..capabilities import Capabilities
from ..errors import Unsupported
from ..ids import digest
from ..request import Request
from ..rules import Draft, Rule, leave_out

Message = dict[str, Any]

# the members that switch reasoning off, by value of the flag c.thinking_switch
SWITCHES: dict[str, dict[str, Any]] = {"thinking": {"thinking": {"type": "disabled"}}, "enable_thinking": {"enable_thinking": False}}
FILLER = " "  # replaces reasoning that a provider requires and that is lost; some refuse an empty text
NO_OUTPUT = "(no output)"
# the signature of calls that no Gemini model made; source: Google's documentation, "Thought signatures"
NO_SIGNATURE = "skip_thought_signature_validator"


class ChatDraft(Draft):
    @property
    def messages(self) -> list[Message]:
        found: list[Message] = self.body["messages"]
        return found

    @property
    def functions(self) -> list[dict[str, Any]]:
        return [tool["function"] for tool in self.body.get("tools", ()) if tool["type"] == "function"]

    @property
    def reasons(self) -> bool:
        return reasons(self.body, self.capabilities)


def reasons(body: dict[str, Any], capabilities: Capabilities) -> bool:
    """Whether the model reasons when it is sent this body, as far as the settings in it tell."""
    when, effort = capabilities.c_reasons, body.get("reasoning_effort")
    switched_off = body.get("thinking") == {"type": "disabled"} or body.get("enable_thinking") is False
    if when in ("never", "always"):
        return when == "always"
    if switched_off or effort == "none":
        return False
    return when == "unless_off" or effort is not None


def refuses(body: dict[str, Any], capabilities: Capabilities, own: bool) -> bool:
    """Whether this API refuses the body: tools with reasoning, for a model that accepts both over another API."""
    if capabilities.c_tools_beside_reasoning or not (body.get("tools") or body.get("functions")):
        return False
    return not own or reasons(body, capabilities)


# ---- tools ----


def refuse_tools(draft: ChatDraft) -> None:
    if "tools" in draft.body or any("tool_calls" in message or message["role"] == "tool" for message in draft.messages):
        raise Unsupported("tools are not supported by the selected model", param="tools")


def complete_schemas(draft: ChatDraft) -> None:
    """Add empty `properties` to objects and `items` to arrays: some refuse a schema without, and the meaning is the same."""
    for function in draft.functions:
        function["parameters"] = subsets.completed(function.get("parameters") or {"type": "object", "properties": {}})


def restrict_schemas(draft: ChatDraft) -> None:
    for number, function in enumerate(draft.functions):
        schema = function.get("parameters")
        restricted = None if schema is None else subsets.restricted(schema, draft.capabilities.schema_subset)
        if restricted is not schema:
            function["parameters"] = restricted
            draft.request.ledger.adapt(_tool_path(draft.request, number))


def _tool_path(request: Request, number: int) -> tuple[str | int, ...]:
    return request.tools[number].path if number < len(request.tools) else ("tools",)


def unify_strict(draft: ChatDraft) -> None:
    """If all tools must have the same strictness, none is strict unless all are."""
    functions = draft.functions
    if len({bool(function.get("strict")) for function in functions}) > 1:
        for function in functions:
            function.pop("strict", None)
        draft.request.ledger.adapt(("tools",))


def choose_tool(draft: ChatDraft) -> None:
    """Adapt a forced tool if the upstream accepts no tool name, or no forced call at all.

    Forcing a named tool is equivalent to offering only this tool and requiring a call. If nothing can be forced while the model reasons,
    reasoning that the caller did not request is switched off; otherwise the choice is left to the model.
    """
    takes = draft.capabilities.c_tool_choice
    if draft.reasons and draft.capabilities.c_tool_choice_reasoning != "any":
        takes = draft.capabilities.c_tool_choice_reasoning
    chosen = draft.body.get("tool_choice")
    named = isinstance(chosen, dict) and chosen.get("type") in ("function", "custom")
    if takes == "any" or chosen in (None, "auto", "none") or not (named or chosen == "required"):
        return
    if takes == "auto" and draft.reasons and _switch_off(draft):
        return
    if named:
        draft.body["tools"] = [tool for tool in draft.body["tools"] if _same_tool(tool, chosen)]
    draft.body["tool_choice"] = "auto" if takes == "auto" else "required"
    draft.adapt("tool_choice", draft.body["tool_choice"])


def call_without_reasoning(draft: ChatDraft) -> None:
    """Switch reasoning off if the model refuses tools while it reasons and no other API is available: tools take precedence."""
    if "tools" not in draft.body or not draft.reasons:
        return
    if "none" not in draft.capabilities.c_effort_values:
        raise Unsupported("tools beside reasoning are not supported by the selected model in this API", param="tools")
    draft.body["reasoning_effort"] = "none"
    draft.adapt("thinking", "none")


def _same_tool(tool: dict[str, Any], chosen: dict[str, Any]) -> bool:
    kind = chosen["type"]
    return bool(tool["type"] == kind and tool[kind]["name"] == chosen[kind]["name"])


def _switch_off(draft: ChatDraft) -> bool:
    """Switch reasoning off unless the caller requested it. Returns whether it is off."""
    switch = draft.capabilities.c_thinking_switch
    if switch == "none" or "thinking" in draft.request.taken:
        return False
    draft.body.update(SWITCHES[switch])
    return True


# ---- settings ----


def limit_output(draft: ChatDraft) -> None:
    member, most = draft.capabilities.c_max_tokens_field, draft.capabilities.c_max_output
    if draft.body.get(member, 0) > most:
        draft.body[member] = most
        draft.adapt("max_tokens", most)


def leave_out_sampling(draft: ChatDraft) -> None:
    if draft.capabilities.c_sampling == "unless_reasoning" and not draft.reasons:
        return
    for member in ("temperature", "top_p"):
        if draft.body.get(member) == 1:
            del draft.body[member]  # the default value: nothing is lost
    for member in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
        draft.drop(member)
    if draft.reasons:
        draft.drop("logprobs")
        draft.drop("top_logprobs")


def name_any_object(draft: ChatDraft) -> None:
    """Replace `json_object` by the schema of any object if the upstream supports only schemas."""
    if draft.body.get("response_format") == {"type": "json_object"}:
        any_object = {"name": "output", "schema": {"type": "object", "properties": {}}}
        draft.body["response_format"] = {"type": "json_schema", "json_schema": any_object}


def leave_out_output_beside_tools(draft: ChatDraft) -> None:
    if "tools" in draft.body:
        draft.drop("response_format")


# ---- messages ----


def fill_content(draft: ChatDraft) -> None:
    """Replace null content, as OpenAI has it next to tool calls and others refuse, by an empty text."""
    for message in draft.messages:
        if message.get("content") is None:
            message["content"] = ""


def leave_out_empty_messages(draft: ChatDraft) -> None:
    kept = []
    for message in draft.messages:
        if message["content"] in ("", None) and not message.get("tool_calls"):
            if message["role"] != "tool":
                continue
            message["content"] = NO_OUTPUT
        kept.append(message)
    if len(kept) != len(draft.messages):
        draft.request.ledger.adapt(draft.history)
    draft.body["messages"] = kept or draft.messages


def move_user_before_results_end(draft: ChatDraft) -> None:
    """Move a user's text after a tool's message to the end of the result, for upstreams that refuse this order.

    Content other than text follows an inserted assistant message, which contains only "." because it may not be empty.
    """
    written: list[Message] = []
    for message in draft.messages:
        if message["role"] == "user" and written and written[-1]["role"] == "tool":
            texts = _texts(message)
            if texts is None:
                written += [{"role": "assistant", "content": "."}, message]
            else:
                written[-1] = written[-1] | {"content": _joined(written[-1]["content"], texts)}
            draft.request.ledger.adapt(draft.history)
        else:
            written.append(message)
    draft.body["messages"] = written


def _texts(message: Message) -> list[str] | None:
    """The texts of a message; None if it has other content."""
    content = message["content"]
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content] if all(part["type"] == "text" for part in content) else None


def _joined(content: Any, texts: list[str]) -> Any:
    if isinstance(content, list):
        return [*content, *({"type": "text", "text": text} for text in texts)]
    return "\n\n".join(text for text in [content, *texts] if text)


def alternate_roles(draft: ChatDraft) -> None:
    """Merge adjacent messages of the same role."""
    written: list[Message] = []
    for message in draft.messages:
        before = written[-1] if written else None
        joins = before is not None and before["role"] == message["role"] in ("user", "assistant")
        texts = _texts(message) if joins else None
        if before is not None and joins and texts is not None and not ("tool_calls" in before or "tool_calls" in message):
            written[-1] = before | {"content": _joined(before["content"], texts)}
        else:
            written.append(message)
    draft.body["messages"] = written


def shorten_call_ids(draft: ChatDraft) -> None:
    """Map call ids to nine letters and digits, as Mistral requires. The mapping is deterministic."""
    for message in draft.messages:
        for call in message.get("tool_calls", ()):
            call["id"] = _nine(call["id"])
        if "tool_call_id" in message:
            message["tool_call_id"] = _nine(message["tool_call_id"])


def _nine(id: str) -> str:
    return id if len(id) == 9 and id.isascii() and id.isalnum() else digest(id, 9)


def give_reasoning_back(draft: ChatDraft) -> None:
    """Add FILLER to assistant messages without reasoning, for providers that require it in each of them."""
    for message in draft.messages:
        wanted = draft.capabilities.c_reasoning_required or (draft.capabilities.c_reasoning_required_with_tools and "tool_calls" in message)
        if message["role"] == "assistant" and wanted and not message.get("reasoning_content"):
            message["reasoning_content"] = FILLER


def stand_in_signatures(draft: ChatDraft) -> None:
    """Give calls without a Gemini signature Google's placeholder, in every turn, so that prompt prefixes stay the same."""
    for message in draft.messages:
        first = next(iter(message.get("tool_calls", ())), None)
        if first is not None and "extra_content" not in first:
            first["extra_content"] = {"google": {"thought_signature": NO_SIGNATURE}}
            draft.request.ledger.adapt(draft.history)


RULES: tuple[Rule[ChatDraft], ...] = (
    Rule(lambda can: bool(can.leave_out), leave_out),
    Rule(lambda can: not can.c_tools, refuse_tools),
    Rule(lambda can: "complete" in can.schema_subset, complete_schemas),
    Rule(lambda can: bool(can.schema_subset), restrict_schemas),
    Rule(lambda can: not can.c_mixed_strict, unify_strict),
    # first, because it may switch reasoning off, which later rules depend on
    Rule(lambda can: can.c_tool_choice != "any" or can.c_tool_choice_reasoning != "any", choose_tool),
    Rule(lambda can: can.openai_host and not can.c_tools_beside_reasoning, call_without_reasoning),
    Rule(lambda can: can.c_sampling != "full", leave_out_sampling),
    Rule(lambda can: can.c_max_output > 0, limit_output),
    Rule(lambda can: not can.c_json_object, name_any_object),
    Rule(lambda can: not can.c_json_with_tools, leave_out_output_beside_tools),
    Rule(lambda can: not can.c_user_after_tool, move_user_before_results_end),
    Rule(lambda can: can.c_alternate, alternate_roles),
    Rule(lambda can: not can.c_null_content, fill_content),
    Rule(lambda can: not can.c_empty_content, leave_out_empty_messages),
    Rule(lambda can: can.c_call_ids == "nine", shorten_call_ids),
    Rule(lambda can: can.c_reasoning_required or can.c_reasoning_required_with_tools, give_reasoning_back),
    Rule(lambda can: can.c_signed_calls, stand_in_signatures),
)

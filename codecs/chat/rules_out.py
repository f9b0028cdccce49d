"""Rules for what a chat upstream refuses, alone or in combination; codecs/rules.py applies them.

The order of RULES matters only where a row says so. conf/providers.yaml and conf/models.yaml say which upstreams a rule applies to.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from .. import openai, outputs, subsets
from ..anything import at
from ..capabilities import EFFORTS, Capabilities
from ..errors import Unsupported
from ..ledger import Path
from ..reasoning import nearest
from ..request import Request
from ..rules import LEAVE_OUT, Rule, whole
from ..schema import Room
from .draft import ChatDraft, reasons
from .message_rules import (
    alternate_roles,
    fill_content,
    flatten_content,
    flatten_systems,
    give_reasoning_back,
    instruct_as_user,
    join_systems,
    leave_out_empty_messages,
    leave_out_old_images,
    mark_prefill,
    move_user_before_results_end,
    no_files,
    refuse_media,
    rename_developers,
    shorten_call_ids,
    speak_as_user,
    stand_in_signatures,
    whole_arguments,
)

# the members that switch reasoning off, by value of the flag c.thinking_switch
SWITCHES: dict[str, dict[str, Any]] = {"thinking": {"thinking": {"type": "disabled"}}, "enable_thinking": {"enable_thinking": False}}
LEAST_TOP_P = 0.01
_LIMITS = ("max_tokens", "max_completion_tokens")
_SAMPLING = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}}  # and the defaults


def refuses(body: dict[str, Any], capabilities: Capabilities, own: bool) -> bool:
    """Whether this API refuses the body: files, or tools with reasoning, for a model that accepts them over another API."""
    if no_files(capabilities) and openai.holds_files(body):
        return True
    if capabilities.c_tools_beside_reasoning or not (body.get("tools") or body.get("functions")):
        return False
    return not own or reasons(body, capabilities)


def translates(body: dict[str, Any], capabilities: Capabilities) -> bool:
    """Whether a caller's body is translated although the upstream speaks its API: with tools in a form that it is known not to take.

    An answer calls them in that form, or by another name, and is translated back.
    """
    if not capabilities.c_functions and body.get("functions"):
        return True
    no_custom = not capabilities.c_custom_tools and "c_custom_tools" in capabilities.known
    tools = body.get("tools") if no_custom or capabilities.c_letter_names else None
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict):
            continue
        if no_custom and tool.get("type") == "custom":
            return True
        name = _name(tool, "function")
        if capabilities.c_letter_names and isinstance(name, str) and not name[:1].isalpha():
            return True
    return False


# ---- tools ----


def refuse_tools(draft: ChatDraft) -> None:
    if (
        draft.body.get("tools")
        or draft.body.get("functions")
        or any(message.get("tool_calls") or message.get("role") == "tool" for message in draft.messages)
    ):
        raise Unsupported("tools are not supported by the selected model", param="tools")


def complete_schemas(draft: ChatDraft) -> None:
    """Add empty `properties` to objects and `items` to arrays: some refuse a schema without, and the meaning is the same."""
    if draft.each_function(subsets.with_parameters) and draft.own:
        draft.request.ledger.adapt(("tools",))


def restrict_schemas(draft: ChatDraft) -> None:
    numbers, room = count(), Room()

    def restrict(function: dict[str, Any]) -> dict[str, Any]:
        number, schema = next(numbers), function.get("parameters")
        restricted = subsets.restricted(schema, draft.capabilities.schema_subset, room) if isinstance(schema, dict) else schema
        if restricted is schema:
            return function
        draft.request.ledger.adapt(_tool_path(draft.request, number))
        return function | {"parameters": restricted}

    draft.each_function(restrict)


def _tool_path(request: Request, number: int) -> Path:
    return request.tools[number].path if number < len(request.tools) else ("tools",)


def unify_strict(draft: ChatDraft) -> None:
    """If all tools must have the same strictness, none is strict unless all are."""
    if len({bool(function.get("strict")) for function in draft.functions}) > 1:
        draft.each_function(lambda function: {name: value for name, value in function.items() if name != "strict"})
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
    if takes != "any" and isinstance(chosen, dict) and chosen.get("type") == "allowed_tools":
        chosen = _offer_allowed(draft, chosen)
    if chosen is None:
        draft.body.pop("tool_choice", None)  # null says nothing
    named = isinstance(chosen, dict) and chosen.get("type") in ("function", "custom")
    if takes == "any" or chosen in (None, "auto", "none") or not (named or chosen == "required"):
        return
    if takes == "auto" and draft.reasons and _switch_off(draft):
        return
    if named:
        offered = [tool for tool in draft.all_of("tools") if _name(tool, chosen["type"]) == _name(chosen, chosen["type"])]
        if not offered:
            return  # the upstream will say so
        draft.body["tools"] = offered
    draft.body["tool_choice"] = "auto" if takes == "auto" else "required"
    draft.adapt("tool_choice", draft.body["tool_choice"])


def _offer_allowed(draft: ChatDraft, chosen: dict[str, Any]) -> Any:
    """Offer only the tools that a choice allows, and return the choice among them."""
    allowed = chosen.get("allowed_tools")
    among, mode = (allowed.get("tools"), allowed.get("mode")) if isinstance(allowed, dict) else (None, None)
    names = {(tool.get("type"), repr(_name(tool, str(tool.get("type"))))) for tool in among or () if isinstance(tool, dict)}
    draft.body["tools"] = [tool for tool in draft.all_of("tools") if (tool.get("type"), repr(_name(tool, str(tool.get("type"))))) in names]
    draft.body["tool_choice"] = "required" if mode == "required" else "auto"
    draft.adapt("tool_choice", draft.body["tool_choice"])
    return draft.body["tool_choice"]


def call_without_reasoning(draft: ChatDraft) -> None:
    """Switch reasoning off if the model refuses tools while it reasons and no other API is available: tools take precedence."""
    if not draft.body.get("tools") or not draft.reasons:
        return
    if "none" not in draft.capabilities.c_effort_values:
        raise Unsupported("tools beside reasoning are not supported by the selected model in this API", param="tools")
    draft.body["reasoning_effort"] = "none"
    draft.adapt("thinking", "none", "reasoning_effort")


def _name(tool: dict[str, Any], kind: str) -> object:
    """The name of a tool, or of a chosen one, of this kind; None of another."""
    inner = tool.get(kind)
    return inner.get("name") if tool.get("type") == kind and isinstance(inner, dict) else None


def _switch_off(draft: ChatDraft) -> bool:
    """Switch reasoning off unless the caller requested it. Returns whether it is off."""
    switch = draft.capabilities.c_thinking_switch
    if switch == "none" or draft.asks_thinking:
        return False
    draft.body.update(SWITCHES[switch])
    if draft.own:
        draft.request.ledger.adapt(tuple(SWITCHES[switch])[:1])
    return True


def leave_out_nothing(draft: ChatDraft) -> None:
    """No list of tools rather than an empty one, which many refuse."""
    draft.leave_default("tools", [])


def bound_tools(draft: ChatDraft) -> None:
    most = draft.capabilities.c_max_tools
    if len(draft.all_of("tools")) > most:
        raise Unsupported(f"the selected model supports at most {most} tools", param="tools")


# ---- settings ----


def rename_limit(draft: ChatDraft) -> None:
    """The bound of the answer's tokens, where one of its two names is refused."""
    wanted = draft.capabilities.c_max_tokens_field
    for member in _LIMITS:
        if member in draft.capabilities.leave_out and member != wanted and draft.body.get(member) is not None:
            draft.body.setdefault(wanted, draft.body.pop(member))
            draft.adapt("max_tokens", member=member)


def limit_output(draft: ChatDraft) -> None:
    most = draft.capabilities.c_max_output
    for member in _LIMITS:
        limit = draft.body.get(member)
        if whole(limit) and limit > most:
            draft.body[member] = most
            draft.adapt("max_tokens", most, member)


def fit_effort(draft: ChatDraft) -> None:
    """The nearest effort that the model takes; an encoder has asked that before."""
    asked, takes = draft.body.get("reasoning_effort"), draft.capabilities.c_effort_values
    if asked in takes or asked not in EFFORTS:
        return
    sent = None if asked == "none" else nearest(asked, takes)
    if sent is None:
        draft.drop("reasoning_effort")
        return
    draft.body["reasoning_effort"] = sent
    draft.adapt("reasoning_effort", sent)


def switch_off(draft: ChatDraft) -> None:
    """No effort at all, by the member that switches reasoning off."""
    if draft.body.get("reasoning_effort") == "none" and "none" not in draft.capabilities.c_effort_values:
        del draft.body["reasoning_effort"]
        draft.body.update(SWITCHES[draft.capabilities.c_thinking_switch])
        draft.adapt("reasoning_effort")


def leave_out_sampling(draft: ChatDraft) -> None:
    if draft.capabilities.c_sampling == "unless_reasoning" and not draft.reasons:
        return
    for member, default in _SAMPLING.items():
        draft.leave_default(member, default)
        draft.drop(member)
    if draft.reasons:
        draft.drop("logprobs")
        draft.drop("top_logprobs")


def limit_temperature(draft: ChatDraft) -> None:
    """The highest temperature, and no top_p of 0, of hosts that refuse what OpenAI takes."""
    most, temperature, top_p = draft.capabilities.c_max_temperature, draft.body.get("temperature"), draft.body.get("top_p")
    if isinstance(temperature, int | float) and temperature > most:
        draft.body["temperature"] = most
        draft.adapt("temperature", most)
    if isinstance(top_p, int | float) and top_p < LEAST_TOP_P:
        draft.body["top_p"] = LEAST_TOP_P
        draft.adapt("top_p", LEAST_TOP_P)


def restrict_output(draft: ChatDraft) -> None:
    form = draft.body.get("response_format")
    named = form.get("json_schema") if isinstance(form, dict) else None
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(form, dict) or not isinstance(named, dict) or not isinstance(schema, dict):
        return
    restricted = subsets.restricted(schema, draft.capabilities.c_output_subset)
    if restricted is not schema:
        draft.body["response_format"] = form | {"json_schema": named | {"schema": restricted}}
        draft.adapt("output", member="response_format")


def name_any_object(draft: ChatDraft) -> None:
    """Replace `json_object` by the schema of any object if the upstream supports only schemas."""
    if draft.body.get("response_format") == {"type": "json_object"}:
        any_object = {"name": "output", "schema": {"type": "object", "properties": {}}}
        draft.body["response_format"] = {"type": "json_schema", "json_schema": any_object}
        if draft.own:
            draft.adapt("response_format")


def name_json(draft: ChatDraft) -> None:
    """Say that JSON is wanted where no message does, as callers of OpenAI's APIs may have forgotten; `openai.name_json` does for others."""
    if draft.body.get("response_format") == {"type": "json_object"}:
        messages = openai.saying_json(draft.body.get("messages"), "text")
        if messages is not None:
            draft.body["messages"] = messages
            draft.moved()


def leave_out_search(draft: ChatDraft) -> None:
    draft.drop("web_search_options")


def leave_out_output_beside_tools(draft: ChatDraft) -> None:
    if draft.body.get("tools"):
        _leave_out_output(draft)


def leave_out_output_in_streams(draft: ChatDraft) -> None:
    if draft.body.get("stream") is True:
        _leave_out_output(draft)


def describe_schema(draft: ChatDraft) -> None:
    """Say the schema in words where the upstream takes none, and ask for JSON where it takes that."""
    if at(draft.body, "response_format", "type") != "json_schema":
        return
    if not draft.capabilities.c_json_object:
        _leave_out_output(draft)
    elif _say_schema(draft):
        draft.body["response_format"] = {"type": "json_object"}
        draft.adapt("output", member="response_format")
    else:
        draft.drop("response_format")


def _leave_out_output(draft: ChatDraft) -> None:
    """A schema is said in words instead."""
    in_words = _say_schema(draft)
    draft.drop("response_format")
    if in_words:
        draft.moved()


def _say_schema(draft: ChatDraft) -> bool:
    """Say the schema in words, if there is one and somebody who says it."""
    form = draft.body.get("response_format")
    if at(form, "type") != "json_schema":
        return False
    messages = outputs.noted(draft.body.get("messages"), outputs.in_words(at(form, "json_schema", "schema")))
    if messages is not None:
        draft.body["messages"] = messages
    return messages is not None


RULES: tuple[Rule[ChatDraft], ...] = (
    Rule(lambda can: any(member in can.leave_out for member in _LIMITS), rename_limit),
    *LEAVE_OUT,
    Rule(lambda can: not can.c_tools or can.c_max_tools > 0 or can.c_call_ids == "nine", leave_out_nothing, of="carried"),
    Rule(lambda can: not can.c_tools, refuse_tools, walks=True),
    Rule(lambda can: can.c_max_tools > 0, bound_tools),
    Rule(lambda can: "complete" in can.schema_subset, complete_schemas, of="written"),
    # OpenAI's own callers know it, and an agent's tools are many: see `lessons.MISSING_PROPERTIES`
    Rule(lambda can: "complete" in can.schema_subset and not can.openai_host, complete_schemas, of="carried", walks=True),
    Rule(lambda can: any(one != "complete" for one in can.schema_subset), restrict_schemas, of="written"),
    Rule(
        lambda can: any(one != "complete" for one in can.schema_subset) and not can.openai_host, restrict_schemas, of="carried", walks=True
    ),
    Rule(lambda can: not can.c_mixed_strict, unify_strict, walks=True),
    # first, because they may switch reasoning off, which later rules depend on
    Rule(lambda can: can.c_thinking_switch != "none", switch_off, of="carried"),
    Rule(lambda can: can.c_tool_choice != "any" or can.c_tool_choice_reasoning != "any", choose_tool),
    Rule(lambda can: True, fit_effort, of="carried", rests_on="c_effort_values"),
    Rule(lambda can: can.openai_host and not can.c_tools_beside_reasoning, call_without_reasoning),
    Rule(lambda can: can.c_sampling != "full", leave_out_sampling),
    Rule(lambda can: can.c_max_output > 0, limit_output),
    Rule(lambda can: can.c_max_temperature > 0, limit_temperature),
    Rule(lambda can: bool(can.c_output_subset), restrict_output),
    Rule(lambda can: can.openai_host, name_json),
    Rule(lambda can: not can.c_json_object, name_any_object),
    Rule(lambda can: can.openai_host and not can.c_web_search, leave_out_search, of="carried", rests_on="c_web_search"),
    # before what asks for JSON in another way
    Rule(lambda can: not can.c_json_with_tools, leave_out_output_beside_tools),
    Rule(lambda can: not can.c_json_streams, leave_out_output_in_streams),
    Rule(lambda can: not can.c_json_schema, describe_schema),
    Rule(lambda can: not can.c_developer_role, rename_developers, of="carried", rests_on="c_developer_role", walks=True),
    Rule(lambda can: can.c_single_system, join_systems, of="carried", walks=True),
    Rule(lambda can: not can.c_system_role, instruct_as_user, walks=True),
    Rule(lambda can: can.c_user_required, speak_as_user),
    Rule(lambda can: can.c_prefill != "any", mark_prefill),
    Rule(lambda can: not (can.c_images and can.c_image_urls) or no_files(can), refuse_media, of="carried", walks=True),
    Rule(lambda can: can.c_max_images > 0, leave_out_old_images, walks=True),
    Rule(lambda can: not can.c_user_after_tool, move_user_before_results_end, walks=True),
    Rule(lambda can: can.c_alternate, alternate_roles, walks=True),
    Rule(lambda can: not can.c_content_parts, flatten_content, of="carried", walks=True),
    Rule(lambda can: not can.c_system_parts, flatten_systems, of="carried", walks=True),
    Rule(lambda can: not can.c_null_content, fill_content, walks=True),
    Rule(lambda can: not can.c_empty_content, leave_out_empty_messages, walks=True),
    Rule(lambda can: not can.c_odd_arguments, whole_arguments, walks=True),
    Rule(lambda can: can.c_call_ids == "nine", shorten_call_ids, walks=True),
    Rule(lambda can: can.c_reasoning_required or can.c_reasoning_required_with_tools, give_reasoning_back, walks=True),
    Rule(lambda can: can.c_signed_calls, stand_in_signatures, walks=True),
)

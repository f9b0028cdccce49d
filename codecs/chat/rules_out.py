"""Rules for what a chat upstream refuses, alone or in combination; codecs/rules.py applies them.

The order of RULES matters only where a row says so. conf/providers.yaml and conf/models.yaml say which upstreams a rule applies to.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count, zip_longest
from typing import Any

from .. import openai, subsets
from ..capabilities import EFFORTS, Capabilities
from ..errors import Malformed, Unsupported, UnsupportedContent
from ..ids import digest
from ..jsontext import arguments_to_input, dumps, loads
from ..ledger import Path, concrete
from ..reasoning import nearest
from ..request import Request
from ..rules import LEAVE_OUT, Draft, Rule, whole
from ..schema import Room

Message = dict[str, Any]

# the members that switch reasoning off, by value of the flag c.thinking_switch
SWITCHES: dict[str, dict[str, Any]] = {"thinking": {"thinking": {"type": "disabled"}}, "enable_thinking": {"enable_thinking": False}}
FILLER = " "  # replaces reasoning that a provider requires and that is lost; some refuse an empty text
NO_OUTPUT = "(no output)"
LEAST_TOP_P = 0.01
CONTINUES = "(conversation continues)"  # before an answer with which a conversation begins
NOT_READ = {"type": "text", "text": "[content: the selected model cannot read this]"}
NO_IMAGE = {"type": "text", "text": "[image: left out, because the selected model accepts fewer images]"}
_LIMITS = ("max_tokens", "max_completion_tokens")
_INSTRUCTS = ("system", "developer")
_SAMPLING = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}}  # and the defaults
# the signature of calls that no Gemini model made; source: Google's documentation, "Thought signatures"
NO_SIGNATURE = "skip_thought_signature_validator"


class ChatDraft(Draft):
    @property
    def messages(self) -> list[Message]:
        return self.all_of("messages")

    @property
    def functions(self) -> list[dict[str, Any]]:
        found = (tool.get("function") for tool in self.all_of("tools") if tool.get("type") == "function")
        return [function for function in found if isinstance(function, dict)]

    @property
    def reasons(self) -> bool:
        return reasons(self.body, self.capabilities)

    @property
    def asks_thinking(self) -> bool:
        """Whether the caller has said how much the model is to reason."""
        return ("reasoning_effort" in self.body or "thinking" in self.body) if self.own else "thinking" in self.request.taken

    def each_function(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
        """As `each`, of what stands in `tools`."""

        def changed(tool: dict[str, Any]) -> dict[str, Any]:
            before = tool.get("function")
            if tool.get("type") != "function" or not isinstance(before, dict) or (after := change(before)) is before:
                return tool
            return tool | {"function": after}

        return self.each("tools", changed)

    def each_message(self, change: Callable[[Message], Message]) -> bool:
        return self.each("messages", change)


def reasons(body: dict[str, Any], capabilities: Capabilities) -> bool:
    """Whether the model reasons when it is sent this body, as far as the settings in it tell."""
    when, effort = capabilities.c_reasons, body.get("reasoning_effort")
    thinking = body.get("thinking")
    switched_off = thinking == {"type": "disabled"} or body.get("enable_thinking") is False
    if isinstance(thinking, dict) and thinking.get("type") == "enabled" and capabilities.c_thinking_switch == "thinking":
        return True
    if when in ("never", "always"):
        return when == "always"
    if switched_off or (effort == "none" and (capabilities.c_thinking_switch == "none" or "none" in capabilities.c_effort_values)):
        return False
    return when == "unless_off" or effort is not None


def refuses(body: dict[str, Any], capabilities: Capabilities, own: bool) -> bool:
    """Whether this API refuses the body: files, or tools with reasoning, for a model that accepts them over another API."""
    if _no_files(capabilities) and openai.holds_files(body):
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
    """Say that JSON is wanted where no message does; an encoder has written it."""
    if draft.body.get("response_format") == {"type": "json_object"}:
        messages = openai.saying_json(draft.body.get("messages"), "text")
        if messages is not None:
            draft.body["messages"] = messages
            draft.moved()


def leave_out_search(draft: ChatDraft) -> None:
    draft.drop("web_search_options")


def leave_out_schema(draft: ChatDraft) -> None:
    """Of a caller that speaks this API; see `_Settings` for others."""
    form = draft.body.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        draft.drop("response_format")


def leave_out_output_beside_tools(draft: ChatDraft) -> None:
    if draft.body.get("tools"):
        draft.drop("response_format")


def leave_out_output_in_streams(draft: ChatDraft) -> None:
    if draft.body.get("stream") is True:
        draft.drop("response_format")


# ---- messages ----


def refuse_media(draft: ChatDraft) -> None:
    """Images and files, as an encoder refuses them. Raises UnsupportedContent.

    In a result of a tool they become notes: all later requests repeat it.
    """
    written, noted = [], False
    for place, message in enumerate(draft.messages):
        parts = _parts(message)
        untaken = {number: what for number, part in enumerate(parts) if (what := _untaken(part, draft.capabilities))} if parts else {}
        if untaken and message.get("role") != "tool":
            number, (name, capability) = next(iter(untaken.items()))
            path = concrete(("messages", place, "content", number))
            raise UnsupportedContent(f"{name} is not supported by the selected model", param=path, capability=capability)
        if untaken:
            message, noted = message | {"content": [NOT_READ if n in untaken else part for n, part in enumerate(parts)]}, True
        written.append(message)
    if noted:
        draft.body["messages"] = written
        draft.moved()


def _untaken(part: dict[str, Any], can: Capabilities) -> tuple[str, str] | None:
    """What of a part the upstream is known not to take, and the capability that it lacks."""
    if part.get("type") == "file" and (_no_files(can) or not (can.c_file_parts or can.c_images)):
        return "a file", "document_block"
    if part.get("type") != "image_url" or (can.c_images and (can.c_image_urls or _is_inline(part.get("image_url")))):
        return None
    return "an image by its URL" if can.c_images else "an image", "image_block"


def _is_inline(image: Any) -> bool:
    url = image.get("url") if isinstance(image, dict) else image
    return not isinstance(url, str) or url.startswith("data:")


def _no_files(can: Capabilities) -> bool:
    return not can.c_file_parts and "c_file_parts" in can.known


def flatten_systems(draft: ChatDraft) -> None:
    """Instructions as one text."""
    if draft.each_message(lambda one: _flat(one) if one.get("role") in _INSTRUCTS else one):
        draft.moved()


def fill_content(draft: ChatDraft) -> None:
    """Replace null content, as OpenAI has it next to tool calls and others refuse, by an empty text."""
    besides = draft.capabilities.openai_host  # next to calls it is taken there, whatever was learned of it elsewhere

    def filled(message: Message) -> Message:
        taken = message.get("content") is not None or (besides and message.get("tool_calls"))
        return message if taken else message | {"content": ""}

    if draft.each_message(filled) and draft.own:
        draft.moved()


def flatten_content(draft: ChatDraft) -> None:
    """Parts that are nothing but texts are one text."""
    if draft.each_message(_flat):
        draft.moved()


def _flat(message: Message) -> Message:
    texts = _texts(message) if isinstance(message.get("content"), list) else None
    return message if texts is None else message | {"content": "\n\n".join(texts)}


def rename_developers(draft: ChatDraft) -> None:
    """The role `system` for `developer`, which other vendors than OpenAI do not know."""
    if draft.each_message(lambda one: one | {"role": "system"} if one.get("role") == "developer" else one):
        draft.moved()


def join_systems(draft: ChatDraft) -> None:
    """One system message, at the beginning; an encoder has written it so."""
    messages = draft.messages
    systems = [message for message in messages if message.get("role") in _INSTRUCTS]
    texts = [_texts(message) for message in systems]
    if not systems or (len(systems) == 1 and messages[0] is systems[0]) or None in texts:
        return
    whole = "\n\n".join(text for some in texts for text in some or ())
    draft.body["messages"] = [systems[0] | {"content": whole}, *(one for one in messages if one.get("role") not in _INSTRUCTS)]
    draft.moved()


def leave_out_empty_messages(draft: ChatDraft) -> None:
    before = draft.messages
    kept: list[Message] = []
    for message in before:
        if message.get("content") in ("", None, []) and not message.get("tool_calls"):
            if message.get("role") != "tool":
                continue
            message = message | {"content": NO_OUTPUT}
        kept.append(message)
    if before and not kept:
        root = str(draft.history[0])
        raise Malformed(f"{root}: at least one message is required", code="invalid_value", param=root)
    if any(new is not old for new, old in zip_longest(kept, before)):
        draft.body["messages"] = kept
        if draft.own or len(kept) != len(before):
            draft.moved()


def move_user_before_results_end(draft: ChatDraft) -> None:
    """Move a user's text after a tool's message to the end of the result, for upstreams that refuse this order.

    Content other than text follows an inserted assistant message, which contains only "." because it may not be empty.
    """
    written: list[_Longer] = []
    moved = False
    for message in draft.messages:
        if message.get("role") == "user" and written and written[-1][0].get("role") == "tool":
            texts = _texts(message)
            if texts is None:
                written += [({"role": "assistant", "content": "."}, []), (message, [])]
            else:
                written[-1][1].append(texts)
            moved = True
        else:
            written.append((message, []))
    if moved:
        draft.body["messages"] = [_lengthened(*one) for one in written]
        draft.moved()


_Longer = tuple[Message, list[list[str]]]  # a message, and the texts of each that is joined to it


def _texts(message: Message) -> list[str] | None:
    """The texts of a message; None if it has other content."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return None
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
    found = [text for text in texts if isinstance(text, str)]
    return found if len(found) == len(content) else None


def _lengthened(message: Message, more: list[list[str]]) -> Message:
    if not more:
        return message
    content, texts = message.get("content"), chain.from_iterable(more)
    if isinstance(content, list):
        return message | {"content": [*content, *({"type": "text", "text": text} for text in texts)]}
    return message | {"content": "\n\n".join(text for text in (content, *texts) if isinstance(text, str) and text)}


def alternate_roles(draft: ChatDraft) -> None:
    """Merge adjacent messages of the same role."""
    written: list[_Longer] = []
    for message in draft.messages:
        before = written[-1][0] if written else {}
        joins = message.get("role") in ("user", "assistant") and before.get("role") == message["role"]
        texts = _texts(message) if joins else None
        if texts is not None and not ("tool_calls" in before or "tool_calls" in message):
            written[-1][1].append(texts)
        else:
            written.append((message, []))
    if len(written) == len(draft.messages):
        return
    draft.body["messages"] = [_lengthened(*one) for one in written]
    if draft.own:
        draft.moved()


def speak_as_user(draft: ChatDraft) -> None:
    """Make the last instructions the user's message if nobody else has spoken; before a first answer a user's message is inserted."""
    messages = draft.messages
    begins = next((n for n, message in enumerate(messages) if message.get("role") not in _INSTRUCTS), None)
    if begins is None and messages:
        draft.body["messages"] = [*messages[:-1], messages[-1] | {"role": "user"}]
    elif begins is not None and messages[begins].get("role") == "assistant":
        draft.body["messages"] = [*messages[:begins], {"role": "user", "content": CONTINUES}, *messages[begins:]]
    else:
        return
    draft.moved()


def mark_prefill(draft: ChatDraft) -> None:
    """Mark a last message of the assistant as the beginning of the answer. Raises Unsupported where it has to be the user's."""
    messages = draft.messages
    last = messages[-1] if messages else {}
    if last.get("role") != "assistant" or last.get("tool_calls") or last.get("prefix") is True:
        return
    if not last.get("content"):
        draft.body["messages"] = messages[:-1]
    elif draft.capabilities.c_prefill == "prefix":
        draft.body["messages"] = [*messages[:-1], last | {"prefix": True}]
    else:
        turn = draft.request.turns[-1].path if draft.request.turns else ("messages", len(messages) - 1)
        raise Unsupported("this model does not accept assistant prefill", param=concrete(turn))
    draft.moved()


def leave_out_old_images(draft: ChatDraft) -> None:
    """Replace all but the newest images by notes: the conversation goes on, and all later requests would repeat them."""
    most = draft.capabilities.c_max_images
    images = [part for message in draft.messages for part in _parts(message) if part.get("type") == "image_url"]
    old = {id(image) for image in images[: max(len(images) - most, 0)]}
    if not old:
        return

    def noted(message: Message) -> Message:
        if not any(id(part) in old for part in _parts(message)):
            return message
        return message | {"content": [dict(NO_IMAGE) if id(part) in old else part for part in message["content"]]}

    draft.each_message(noted)
    draft.moved()


def _parts(message: Message) -> list[dict[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def whole_arguments(draft: ChatDraft) -> None:
    """Arguments of earlier calls as JSON objects: an object with the text of what is none."""

    def whole(call: Any) -> Any:
        function = call.get("function") if isinstance(call, dict) else None
        text = function.get("arguments") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(text, str) or _is_object(text):
            return call
        return call | {"function": function | {"arguments": dumps(arguments_to_input(text)).decode()}}

    def changed(message: Message) -> Message:
        calls = message.get("tool_calls")
        after = [whole(call) for call in calls] if isinstance(calls, list) else []
        if all(new is old for new, old in zip(after, calls or (), strict=True)):
            return message
        return message | {"tool_calls": after}

    if draft.each_message(changed):
        draft.moved()


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text), dict)
    except ValueError:
        return False


def shorten_call_ids(draft: ChatDraft) -> None:
    """Map call ids to nine letters and digits, as Mistral requires. The mapping is deterministic."""

    def short(message: Message) -> Message:
        calls, answers = message.get("tool_calls"), message.get("tool_call_id")
        if isinstance(calls, list) and any(isinstance(call, dict) and _nine(call.get("id")) != call.get("id") for call in calls):
            message = message | {"tool_calls": [call | {"id": _nine(call.get("id"))} if isinstance(call, dict) else call for call in calls]}
        return message if _nine(answers) == answers else message | {"tool_call_id": _nine(answers)}

    if draft.each_message(short) and draft.own:
        draft.moved()


def _nine(id: object) -> object:
    return id if not isinstance(id, str) or (len(id) == 9 and id.isascii() and id.isalnum()) else digest(id, 9)


def give_reasoning_back(draft: ChatDraft) -> None:
    """Add FILLER to assistant messages without reasoning, for providers that require it in each of them."""
    if draft.own and not draft.reasons:
        return
    every = draft.capabilities.c_reasoning_required

    def filled(message: Message) -> Message:
        wanted = every or (draft.capabilities.c_reasoning_required_with_tools and "tool_calls" in message)
        if message.get("role") != "assistant" or not wanted or message.get("reasoning_content"):
            return message
        return message | {"reasoning_content": FILLER}

    if draft.each_message(filled) and draft.own:
        draft.moved()


def stand_in_signatures(draft: ChatDraft) -> None:
    """Give calls without a Gemini signature Google's placeholder, in every turn, so that prompt prefixes stay the same.

    It stands where the upstream has signatures: at the call, or among the details of the reasoning (OpenRouter).
    """
    among = draft.capabilities.c_reasoning_in == "reasoning_details"

    def signed(message: Message) -> Message:
        calls = message.get("tool_calls")
        first = calls[0] if isinstance(calls, list) and calls else None
        if not isinstance(calls, list) or not isinstance(first, dict):
            return message
        if among:
            entry = {"type": "reasoning.encrypted", "data": NO_SIGNATURE, "id": first.get("id"), "format": "google-gemini-v1", "index": 0}
            return message if message.get("reasoning_details") else message | {"reasoning_details": [entry]}
        if "extra_content" in first:
            return message
        return message | {"tool_calls": [first | {"extra_content": {"google": {"thought_signature": NO_SIGNATURE}}}, *calls[1:]]}

    if draft.each_message(signed):
        draft.moved()


RULES: tuple[Rule[ChatDraft], ...] = (
    Rule(lambda can: any(member in can.leave_out for member in _LIMITS), rename_limit),
    *LEAVE_OUT,
    Rule(lambda can: not can.c_tools or can.c_max_tools > 0 or can.c_call_ids == "nine", leave_out_nothing, of="carried"),
    Rule(lambda can: not can.c_tools, refuse_tools, walks=True),
    Rule(lambda can: can.c_max_tools > 0, bound_tools),
    Rule(lambda can: "complete" in can.schema_subset, complete_schemas, of="written"),
    # OpenAI's own callers know it, and an agent's tools are many: see `lessons.MISSING_PROPERTIES`
    Rule(lambda can: "complete" in can.schema_subset and not can.openai_host, complete_schemas, of="carried", walks=True),
    Rule(lambda can: any(one != "complete" for one in can.schema_subset), restrict_schemas, walks=True),
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
    Rule(lambda can: can.openai_host, name_json, of="carried"),
    Rule(lambda can: not can.c_json_object, name_any_object),
    Rule(lambda can: can.openai_host and not can.c_web_search, leave_out_search, of="carried", rests_on="c_web_search"),
    Rule(lambda can: not can.c_json_schema, leave_out_schema, of="carried"),
    Rule(lambda can: not can.c_json_with_tools, leave_out_output_beside_tools),
    Rule(lambda can: not can.c_json_streams, leave_out_output_in_streams),
    Rule(lambda can: not can.c_developer_role, rename_developers, of="carried", rests_on="c_developer_role", walks=True),
    Rule(lambda can: can.c_single_system, join_systems, of="carried", walks=True),
    Rule(lambda can: can.c_user_required, speak_as_user),
    Rule(lambda can: can.c_prefill != "any", mark_prefill),
    Rule(lambda can: not (can.c_images and can.c_image_urls) or _no_files(can), refuse_media, of="carried", walks=True),
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

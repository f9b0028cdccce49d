"""The rules of rules_out.py that are about messages: what an upstream refuses in them, or in which order it wants them."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import Any

from ..anything import dicts_of
from ..capabilities import Capabilities
from ..errors import Malformed, Unsupported, unsupported_content
from ..ids import digest
from ..jsontext import arguments_to_input, dumps, loads
from ..ledger import concrete
from .draft import ChatDraft, Message

FILLER = " "  # replaces reasoning that a provider requires and that is lost; some refuse an empty text
NO_OUTPUT = "(no output)"
CONTINUES = "(conversation continues)"  # before an answer with which a conversation begins
NOT_READ = {"type": "text", "text": "[content: the selected model cannot read this]"}
NO_IMAGE = {"type": "text", "text": "[image: left out, because the selected model accepts fewer images]"}
_INSTRUCTS = ("system", "developer")
# the signature of calls that no Gemini model made; source: Google's documentation, "Thought signatures"
NO_SIGNATURE = "skip_thought_signature_validator"


def refuse_media(draft: ChatDraft) -> None:
    """Images and files, as an encoder refuses them. Raises UnsupportedContent.

    In a result of a tool they become notes: all later requests repeat it.
    """
    written, noted = [], False
    for place, message in enumerate(draft.messages):
        parts = dicts_of(message, "content")
        untaken = {number: what for number, part in enumerate(parts) if (what := _untaken(part, draft.capabilities))} if parts else {}
        if untaken and message.get("role") != "tool":
            number, (name, capability) = next(iter(untaken.items()))
            raise unsupported_content(name, ("messages", place, "content", number), capability)
        if untaken:
            message, noted = message | {"content": [NOT_READ if n in untaken else part for n, part in enumerate(parts)]}, True
        written.append(message)
    if noted:
        draft.body["messages"] = written
        draft.moved()


def _untaken(part: dict[str, Any], can: Capabilities) -> tuple[str, str] | None:
    """What of a part the upstream is known not to take, and the capability that it lacks."""
    if part.get("type") == "file" and (no_files(can) or not (can.c_file_parts or can.c_images)):
        return "a file", "document_block"
    if part.get("type") != "image_url" or (can.c_images and (can.c_image_urls or _is_inline(part.get("image_url")))):
        return None
    return "an image by its URL" if can.c_images else "an image", "image_block"


def _is_inline(image: Any) -> bool:
    url = image.get("url") if isinstance(image, dict) else image
    return not isinstance(url, str) or url.startswith("data:")


def no_files(can: Capabilities) -> bool:
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
    messages: list[Message] = []
    for message in before:
        if message.get("content") in ("", None, []) and not message.get("tool_calls"):
            if message.get("role") != "tool":
                continue
            message = message | {"content": NO_OUTPUT}
        messages.append(message)
    if before and not messages:
        root = str(draft.history[0])
        raise Malformed(f"{root}: at least one message is required", code="invalid_value", param=root)
    if any(new is not old for new, old in zip_longest(messages, before)):
        draft.body["messages"] = messages
        if draft.own or len(messages) != len(before):
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
    strings = [text for text in texts if isinstance(text, str)]
    return strings if len(strings) == len(content) else None


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


def instruct_as_user(draft: ChatDraft) -> None:
    """Instructions as messages of the user, for models that know neither of the roles `system` and `developer`."""
    if draft.each_message(lambda one: one | {"role": "user"} if one.get("role") in _INSTRUCTS else one):
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
    images = [part for message in draft.messages for part in dicts_of(message, "content") if part.get("type") == "image_url"]
    old = {id(image) for image in images[: max(len(images) - most, 0)]}
    if not old:
        return

    def noted(message: Message) -> Message:
        if not any(id(part) in old for part in dicts_of(message, "content")):
            return message
        return message | {"content": [dict(NO_IMAGE) if id(part) in old else part for part in message["content"]]}

    draft.each_message(noted)
    draft.moved()


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

"""Compaction as the responses shape has it: an input item that asks for it, an item that it leaves, and an endpoint of its own.

Source: OpenAI API reference, "Compaction", "Compact a response". An item of ours is replaced before a request goes anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import compaction
from ..capabilities import Capabilities
from ..errors import ClientFault, Malformed
from ..ids import digest
from ..ledger import Ledger, Path, concrete
from ..reply import Reply
from .collector import Collector

Item = dict[str, Any]

ITEMS = ("compaction", "compaction_summary", "context_compaction")
TRIGGER = "compaction_trigger"
LEAST = 1000  # tokens from which on an input may be compacted

_ROLES = ("user", "developer", "system")
_SETTINGS = ("additional_tools", "configuration_update")  # items that hold for what follows, and are no history
# members of a body that say how another answer is to look
_ANSWERS_FORM = frozenset({"max_tool_calls", "top_logprobs", "stop", "background", "context_management"})
_LOGPROBS = "message.output_text.logprobs"


def _kind(item: Any) -> Any:
    return item.get("type") or "message" if isinstance(item, dict) else None


def asked(body: Item) -> bool:
    """Whether the input ends with the item that asks for a compaction."""
    items = body.get("input")
    return isinstance(items, list) and bool(items) and _kind(items[-1]) == TRIGGER


def threshold(body: Item) -> int | None:
    """From how many tokens on a request wants its input compacted before it is answered; None when it does not."""
    managed = body.get("context_management")
    entry = managed[0] if isinstance(managed, list) and len(managed) == 1 else None
    if not isinstance(entry, dict) or entry.get("type") != "compaction":
        return None
    tokens = entry.get("compact_threshold")
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= LEAST else None


def is_ours(item: Any) -> bool:
    sealed = item.get("encrypted_content") if isinstance(item, dict) else None  # which few items have
    return sealed is not None and compaction.is_sealed(sealed) and _kind(item) in ITEMS


def foreign(items: Iterable[Any]) -> bool:
    """Whether something is left that only its maker can read: a compaction of another's behind the last of ours."""
    unreadable = False
    for item in items:
        if _kind(item) in ITEMS:
            unreadable = not compaction.is_sealed(item.get("encrypted_content"))
    return unreadable


def expanded(items: list[tuple[Any, Path]], ledger: Ledger) -> list[tuple[Any, Path]]:
    """The items, each with its path, with the last summary of ours in its words.

    Of what stands before it only the messages of people stay. Raises ClientFault for an envelope that is damaged.
    """
    last = len(items) - 1
    for item, _ in reversed(items):
        if type(item) is dict and "encrypted_content" in item and is_ours(item):
            break
        last -= 1
    if last < 0:
        return items
    item, path = items[last]
    summary = compaction.unseal(item["encrypted_content"])
    if summary is None:
        param = concrete((*path, "encrypted_content"))
        raise ClientFault(f"{param}: the compaction is damaged.", code="invalid_encrypted_content", param=param)
    ledger.adapt(path)
    return [*(pair for pair in items[:last] if _stays(pair[0])), (_message(compaction.as_message(summary)), path), *items[last + 1 :]]


def _stays(item: Any) -> bool:
    kind = _kind(item)
    return kind in _SETTINGS or (kind == "message" and item.get("role") in _ROLES)


def _message(text: str) -> Item:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def nothing_to_compact() -> Malformed:
    return Malformed("There is nothing to compact.", code="invalid_value", param="input")


def question(body: Item, capabilities: Capabilities, prompt: str, limit: int, tools: bool = True) -> Item:
    """The body that asks an upstream of this shape for a summary, like compaction.ask: all that it may have cached is as it was."""
    request_body = {name: value for name, value in body.items() if name not in _ANSWERS_FORM}
    body_input = body.get("input")
    items = body_input if isinstance(body_input, list) else [] if body_input is None else [_message(str(body_input))]
    items = [item for item in items if _kind(item) != TRIGGER]
    if not items and body.get("previous_response_id") is None and body.get("conversation") is None:
        raise nothing_to_compact()
    request_body["input"] = [*items, _message(prompt)]
    if "max_output_tokens" in capabilities.leave_out:
        request_body.pop("max_output_tokens", None)
    else:
        request_body["max_output_tokens"] = limit
    if isinstance(body.get("text"), dict):
        request_body["text"] = {name: value for name, value in body["text"].items() if name != "format"}
    if isinstance(body.get("include"), list):
        request_body["include"] = [name for name in body["include"] if name != _LOGPROBS]
    if not tools:
        request_body["tool_choice"] = "none"
    elif body.get("tool_choice") not in (None, "auto", "none"):
        request_body["tool_choice"] = "auto"
    return request_body


# ---- the endpoint's own answer ----


def users(items: Iterable[Any]) -> list[Item]:
    """The messages of users among items, in full, as a compaction that is asked for by itself gives them back."""
    messages = (item for item in items if _kind(item) == "message" and item.get("role") == "user")
    return [_in_full(item, place) for place, item in enumerate(messages)]


def _in_full(item: Item, place: int) -> Item:
    content, id = item.get("content"), item.get("id")
    parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    return {
        "type": "message",
        "id": id if isinstance(id, str) and id else f"msg_{digest(f'{place}:{content}', 32)}",
        "status": "completed",
        "role": "user",
        "content": parts if isinstance(parts, list) else [],
    }


class CompactCollector(Collector):
    """A summary as the endpoint's answer. users: the messages that stand before it."""

    def __init__(self, reply: Reply, users: list[Item]) -> None:
        super().__init__(reply)
        self._users = users

    def body(self) -> Item:
        response = super().body()
        return {
            "id": response["id"],
            "object": "response.compaction",
            "created_at": response["created_at"],
            "output": [*self._users, *response["output"]],
            "usage": response["usage"],
        }


def collector(reply: Reply) -> Collector:
    """What collects a whole answer of this shape."""
    users = reply.request.users
    return Collector(reply) if users is None else CompactCollector(reply, users)

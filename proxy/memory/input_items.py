"""The input of a responses request, stored items and its own: pure functions over lists of items.

Stored items precede the request's own input, references in its own input are replaced by the items that they name, and an upstream
that stores neither gets all of them as plain items.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...codecs import errors
from ...codecs.responses import TRIGGER, own_tools
from .records import Item, public

# type of a call -> type of its output
_OUTPUTS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output", **own_tools.OUTPUTS}

_CUT = ("incomplete", "in_progress")  # the status of a stored call that is not whole


def own_input(body: Item) -> list[Any]:
    """The request's own input as a list of items."""
    value = body.get("input")
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    return value if isinstance(value, list) else []


def referred(item: Any) -> str | None:
    """The id that an item_reference names, or None for another item. The API allows a reference without a type."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return None
    kind = item.get("type")
    return item["id"] if kind == "item_reference" or (kind is None and item.keys() <= {"id", "type"}) else None


def bare_reasoning(item: Any) -> str | None:
    """The id of a reasoning item that holds nothing to replay: its caller relies on the id."""
    if not isinstance(item, dict) or item.get("type") != "reasoning" or item.get("encrypted_content") or item.get("content"):
        return None
    id = item.get("id")
    return id if isinstance(id, str) else None


def resolved(items: Iterable[Any], referenced: Mapping[str, Item | None], strict: bool) -> list[Any]:
    """The items with references, and reasoning named by its id alone, replaced; what is already in the input (None) is left out.

    strict: an unknown reference raises NotFound; otherwise it stays for the upstream to look up.
    """
    out = []
    for item in items:
        id = referred(item)
        if id is None and (bare := bare_reasoning(item)) in referenced:
            id = bare
        if id is None:
            out.append(item)
        elif id in referenced:
            item = referenced[id]
            if item is not None:
                out.append(item)
        elif strict:
            raise errors.NotFound(f"Item with id '{id[:256]}' not found.", param="input")
        else:
            out.append(item)
    return out


def without_cut_calls(stored: list[Any], own: Iterable[Any]) -> list[Any]:
    """The stored items without calls that were cut off (see _CUT) and have no output."""
    cut = {item["call_id"] for item in stored if item.get("type") in _OUTPUTS and item.get("status") in _CUT and "call_id" in item}
    if not cut:
        return stored
    outputs = _OUTPUTS.values()
    cut -= {item.get("call_id") for item in (*stored, *own) if isinstance(item, dict) and item.get("type") in outputs}
    return [item for item in stored if not (item.get("type") in _OUTPUTS and item.get("call_id") in cut)]


def plain(item: Item, domain: str) -> Item | None:
    """A stored item for a responses upstream that has not seen it: without its id and status.

    None for what asked for a compaction, and for reasoning without encrypted content or of another domain; other reasoning stays as it is.
    """
    if item.get("type") == TRIGGER:  # it was answered
        return None
    if item.get("type") != "reasoning":
        return {key: value for key, value in public(item).items() if key not in ("id", "status")}
    own = item.get("dragoman_domain", domain) == domain
    return public(item) if own and item.get("encrypted_content") else None

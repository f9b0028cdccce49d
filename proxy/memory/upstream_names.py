"""Upstream names: ids of items, files, vector stores and containers that an upstream stores for all users of the gateway's key.

Pure functions that find them in requests and answers; records.py records their owners. Skills and saved prompts are not included: they
belong to the account's operator, and no caller that is kept apart from others can create one through the gateway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...codecs.anything import dicts_of
from ...codecs.registry import SHAPES, STATEFUL
from . import input_items
from .records import Item

# members that are not searched: content of the caller's own, where a property may have any name, and citations, which are only shown
_OWN_WORDS = frozenset({"parameters", "input_schema", "schema", "input", "annotations", "citations", "results"})
_RESULT = "_tool_result"  # suffix of the types of server tool results, which the upstream does not look up

# members that name something in requests about stored objects
_ANYWHERE = frozenset({"file_ids", "input_file_id"}).union(*(shape.upstream_names.members for shape in SHAPES.values()))

# tools that make containers, which outlive a response that is not stored
_MAKERS = frozenset({"code_interpreter", "shell"})

# an item of this type that lacks its content is looked up by its id
_CONTENT = {"reasoning": ("encrypted_content", "content"), "compaction": ("encrypted_content",), "image_generation_call": ("result",)}


def used_in_request(shape: str, body: Item) -> dict[str, str]:
    """The files, vector stores and containers that a request names, each with the field of the body that contains it."""
    places, naming = SHAPES[shape].upstream_names
    names: dict[str, str] = {}
    for place in places:
        if place in naming:
            names.update(dict.fromkeys(_texts(body.get(place)), place))
        else:
            names.update(dict.fromkeys(_named(body.get(place), naming), place))
    return names


def used_anywhere(body: Item) -> dict[str, str | None]:
    """What a request about stored objects names of them, each with the member that names it, if that is one of the body's own."""
    names: dict[str, str | None] = dict.fromkeys(_named(body, _ANYWHERE))
    return names | {name: member for member in _ANYWHERE & body.keys() for name in _texts(body[member])}


def in_members(body: Item, members: Iterable[str]) -> list[str]:
    """The names in these members of an object."""
    return [name for member in members for name in _texts(body.get(member))]


def items_looked_up(body: Item) -> list[str]:
    """The ids of items that a responses upstream would look up for this request, in order."""
    own = input_items.own_input(body)
    there = {item.get("id") for item in own if isinstance(item, dict) and isinstance(item.get("id"), str) and not _is_looked_up(item)}
    wanted = []
    for item in own:
        if not isinstance(item, dict):
            continue
        if _is_looked_up(item):
            wanted.append(item["id"])
        request = item.get("approval_request_id")
        if isinstance(request, str) and request not in there:
            wanted.append(request)
    return wanted


def _is_looked_up(item: Item) -> bool:
    if input_items.referred(item) is not None:
        return True
    content = _CONTENT.get(item["type"]) if isinstance(item.get("type"), str) else None
    return content is not None and isinstance(item.get("id"), str) and not any(item.get(member) for member in content)


def named_in_answer(response: Item) -> set[str]:
    """The names that a response object gives to its caller: the ids of its items and the names in them."""
    items = dicts_of(response, "output")
    return {item["id"] for item in items if isinstance(item.get("id"), str)} | set(_named(items, STATEFUL.upstream_names.members))


def makes_containers(body: Item) -> bool:
    """Whether a responses request has a tool that creates containers, which later requests can name."""
    tools = body.get("tools")
    return isinstance(tools, list) and any(isinstance(tool, dict) and str(tool.get("type")) in _MAKERS for tool in tools)


def _named(value: Any, naming: frozenset[str]) -> Iterator[str]:
    todo = [value]
    while todo:
        value = todo.pop()
        if type(value) is list:
            todo += [member for member in value if type(member) is dict or type(member) is list]
        elif type(value) is dict and not str(value.get("type", "")).endswith(_RESULT):
            if not naming.isdisjoint(value):
                for name in naming & value.keys():
                    yield from _texts(value[name])
            todo += [member for key, member in value.items() if (type(member) is dict or type(member) is list) and key not in _OWN_WORDS]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (member for member in value if isinstance(member, str))
    elif isinstance(value, dict) and isinstance(value.get("id"), str):
        yield value["id"]

"""Convert JSON Schemas of tools to a provider's subset: one converter, the subsets are data.

completed    adds members that OpenAI requires, an object's `properties` and an array's `items`; the meaning does not change
restricted   replaces what a provider refuses by the nearest equivalent; the calling code reports that

Unchanged objects are not copied: a schema that fits is returned as the same object. Only schema positions are processed. Sources:
OpenAI, "Structured Outputs"; what xAI, Moonshot and llama.cpp refuse is in the table of flags (`schema_subset`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import jsontext
from .anything import dict_of
from .errors import Unsupported
from .schema import A_SCHEMA, DEPTH, Room

Schema = dict[str, Any]

# the restrictions available to the tables
RESTRICTIONS = ("complete", "no_root_union", "refs_in_defs", "bare_refs", "no_refs", "no_booleans", "no_item_counts", "small_grammar")

_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_MEMBERS = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_UNIONS = ("anyOf", "oneOf")
_AT_ROOT = frozenset({*_UNIONS, "allOf"})
_ANNOTATIONS = frozenset({"description", "title", "default", "examples"})
_COUNTS = ("minItems", "maxItems")
_LONGEST = 2000  # `maxLength` from which on llama.cpp refuses to make a grammar


def completed(schema: Schema) -> Schema:
    """Add `properties` to every object and `items` to every array. Raises Unsupported for a schema that is too deep."""
    whole: Schema = _mapped(schema, _complete, DEPTH)
    return whole


def with_parameters(function: Schema) -> Schema:
    """A function's definition with a completed schema, of one that takes nothing too. Raises as `completed`."""
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    whole = completed(schema) if isinstance(schema, dict) else schema
    return function if whole is function.get("parameters") else function | {"parameters": whole}


def _complete(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    if kind == "object" and not isinstance(node.get("properties"), dict):
        return node | {"properties": {}}
    return node | {"items": {}} if kind == "array" and "items" not in node else node


def restricted(schema: Schema, restrictions: tuple[str, ...], room: Room | None = None) -> Schema:
    """Apply these restrictions (of RESTRICTIONS, except "complete"). Raises Unsupported for a schema that is too deep or too large.

    room: one for all schemas of a request; None where there is no other.
    """
    original = schema
    if "no_root_union" in restrictions:
        schema = _without_root_union(schema)
    if "refs_in_defs" in restrictions:
        schema = _in_defs(schema)
    if "no_refs" in restrictions:
        schema = _Inliner(schema, room or Room()).whole()
    if "bare_refs" in restrictions:
        schema = _mapped(schema, _bare_ref, DEPTH)
    if "no_booleans" in restrictions:
        schema = _mapped(schema, _no_boolean, DEPTH)
    if "no_item_counts" in restrictions:
        schema = _mapped(schema, _uncounted, DEPTH)
    if "small_grammar" in restrictions:
        schema = _mapped(schema, _small, DEPTH)
    return original if schema is original or schema == original else schema


def _mapped(node: Any, change: Callable[[Any], Any], depth: int) -> Any:
    """Apply a change to the schema and all schemas in it, inner ones first."""
    if depth < 0:
        raise Unsupported("a tool's schema is nested too deeply", param="tools")
    if not isinstance(node, dict):
        return change(node)
    changed: Schema = {}
    for key in _MAPS:
        inner = node.get(key)
        if isinstance(inner, dict):
            mapped = {name: _mapped(one, change, depth - 1) for name, one in inner.items()}
            if any(mapped[name] is not one for name, one in inner.items()):
                changed[key] = mapped
    for key in _MEMBERS:
        if isinstance(node.get(key), dict) or (key == "items" and isinstance(node.get(key), bool)):
            one = _mapped(node[key], change, depth - 1)
            if one is not node[key]:
                changed[key] = one
    for key in _LISTS:
        inner = node.get(key)
        if isinstance(inner, list):
            ones = [_mapped(one, change, depth - 1) for one in inner]
            if any(new is not old for new, old in zip(ones, inner, strict=True)):
                changed[key] = ones
    return change(node | changed if changed else node)


# ---- a union at the root ----


def _without_root_union(schema: Schema) -> Schema:
    """Merge the alternatives of a tool's arguments in one object: all properties, required if all alternatives require them."""
    if schema.keys().isdisjoint(_AT_ROOT):  # nearly always
        return schema
    union = next((key for key in _UNIONS if isinstance(schema.get(key), list)), None)
    everything = schema.get("allOf") if isinstance(schema.get("allOf"), list) else []
    if union is None and not everything:
        return schema
    rest = {key: value for key, value in schema.items() if key not in (*_UNIONS, "allOf")}
    properties: Schema = dict(dict_of(rest, "properties"))
    required = _required(rest)
    branches = _each_resolved(schema.get(union or "", ()), schema)
    parts = _each_resolved(everything or (), schema)
    for branch in (*parts, *branches):
        for name, one in dict_of(branch, "properties").items():
            properties.setdefault(name, one)
    for branch in parts:
        required |= _required(branch)
    if branches:
        required |= set.intersection(*map(_required, branches))
    whole = rest | {"type": "object", "properties": properties}
    order = [name for name in properties if name in required]
    return whole | ({"required": order} if order else {})


def _required(schema: Schema) -> set[str]:
    required = schema.get("required")
    return {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()


def _each_resolved(nodes: Iterable[Any], root: Schema) -> list[Schema]:
    """Each schema only once, however many references lead to it."""
    schemas = [_resolved(node, root) for node in nodes]
    return list({id(one): one for one in schemas}.values())


def _resolved(node: Any, root: Schema) -> Schema:
    """The target of a `$ref` into the root's definitions, or the schema itself."""
    target = _target(node, root)
    schema = target if target is not None else node
    return schema if isinstance(schema, dict) else {}


def _target(node: Any, root: Schema) -> Any:
    reference = node.get("$ref") if isinstance(node, dict) else None
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    target: Any = root
    for step in reference[2:].split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        target = target.get(step) if isinstance(target, dict) else None
    return target


# ---- references ----


def _in_defs(schema: Schema) -> Schema:
    """Move definitions to `$defs` and adjust the references; a reference without target becomes any value."""
    definitions = schema.get("definitions")
    if isinstance(definitions, dict):
        rest = {key: value for key, value in schema.items() if key != "definitions"}
        schema = rest | {"$defs": definitions | (rest.get("$defs") or {})}
    known = schema.get("$defs") or {}

    def moved(node: Any) -> Any:
        reference = node.get("$ref") if isinstance(node, dict) else None
        if not isinstance(reference, str):
            return node
        name = reference.removeprefix("#/definitions/").removeprefix("#/$defs/")
        if name not in known:
            return {key: value for key, value in node.items() if key != "$ref"}
        return node if reference == f"#/$defs/{name}" else node | {"$ref": f"#/$defs/{name}"}

    mapped: Schema = _mapped(schema, moved, DEPTH)
    if "anyOf" in mapped and "type" in mapped:
        mapped = _without_root_union(mapped)
    return mapped if mapped.get("type") == "object" else mapped | {"type": "object"}


def _bare_ref(node: Any) -> Any:
    """Remove members next to `$ref`, except annotations."""
    if not isinstance(node, dict) or "$ref" not in node:
        return node
    bare = {key: value for key, value in node.items() if key == "$ref" or key in _ANNOTATIONS}
    return node if len(bare) == len(node) else bare


class _Inliner:
    """Replaces references by their targets; a recursive one becomes any value."""

    def __init__(self, root: Schema, room: Room) -> None:
        self._root = root
        self._room = room
        self._targets: dict[str, tuple[Any, int]] = {}  # by reference, each with its size in bytes

    def whole(self) -> Schema:
        schema: Schema = self._inlined(self._root, DEPTH, ())
        return schema

    def _inlined(self, node: Any, depth: int, within: tuple[str, ...]) -> Any:
        if depth < 0:
            raise Unsupported("a tool's schema is nested too deeply", param="tools")
        if isinstance(node, list):
            return [self._inlined(one, depth - 1, within) for one in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        if isinstance(reference, str):
            rest = {key: value for key, value in node.items() if key != "$ref"}
            target = {} if reference in within else self._target(reference, node)
            inner = self._inlined(target, depth - 1, (*within, reference)) if isinstance(target, dict) else {}
            return inner | self._inlined(rest, depth - 1, within)
        members = {key: value for key, value in node.items() if node is not self._root or key not in ("$defs", "definitions")}
        return {key: self._inlined(value, depth - 1, within) if isinstance(value, dict | list) else value for key, value in members.items()}

    def _target(self, reference: str, node: Schema) -> Any:
        """What the reference of a node leads to, to be written in its place."""
        entry = self._targets.get(reference)
        if entry is None:
            target = _target(node, self._root)
            entry = self._targets[reference] = target, A_SCHEMA + len(jsontext.dumps(target))
        if not self._room.take(entry[1]):
            raise Unsupported("a tool's schema is too large once its references are resolved", param="tools")
        return entry[0]


def _no_boolean(node: Any) -> Any:
    return {} if node is True else {"not": {}} if node is False else node


# ---- bounds ----


def _uncounted(node: Any) -> Any:
    if not isinstance(node, dict) or node.keys().isdisjoint(_COUNTS):
        return node
    return {key: value for key, value in node.items() if key not in _COUNTS}


def _small(node: Any) -> Any:
    """Remove bounds of texts that would make a grammar too large, and patterns with classes of characters, which it cannot express."""
    if not isinstance(node, dict):
        return node
    pattern, longest = node.get("pattern"), node.get("maxLength")
    refused = []
    if isinstance(pattern, str) and "\\" in pattern:
        refused.append("pattern")
    if isinstance(longest, int) and longest >= _LONGEST:
        refused.append("maxLength")
    return {key: value for key, value in node.items() if key not in refused} if refused else node

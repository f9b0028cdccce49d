"""JSON Schemas of structured output and tools: the forms accepted by the messages shape and by OpenAI's strict mode.

Only schema positions are processed: a property named `minimum` is data, not a keyword. Sources: Anthropic, "Structured outputs"
(JSON Schema limitations); OpenAI, "Structured Outputs" (supported schemas).
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from . import errors, jsontext
from .ledger import Path, concrete

# more than any provider accepts, and few enough to be traversed in one go
DEPTH = 100  # levels of nested schemas
SIZE = 100_000  # schemas
ROOM = 1 << 20  # bytes that references may add to the schemas of one request, where they are replaced by what they name
A_SCHEMA = 40  # bytes that each of them counts besides its own

# keywords whose value is a map of schemas, or a schema or a list of schemas
_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_MEMBERS = (
    "items", "prefixItems", "additionalProperties", "anyOf", "allOf", "oneOf", "not", "if", "then", "else", "contains",
    "propertyNames", "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
# keywords that `norm` traverses; the others are removed, or refused by the provider
_NORMED_MAPS = frozenset({"properties", "$defs", "definitions"})
_NORMED_MEMBERS = frozenset({"items", "prefixItems", "anyOf", "allOf", "oneOf"})

_CONSTRAINTS = frozenset({
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
    "uniqueItems", "minProperties", "maxProperties", "patternProperties", "contains", "minContains", "maxContains",
})  # fmt: skip
_FANCY_PATTERN = re.compile(r"\(\?(?:<?[=!]|P=)|\\[1-9]|\\k[<{']")

_NOT_STRICT = frozenset({
    "allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties",
})  # fmt: skip
_SAYS_TYPE = frozenset({"type", "anyOf", "$ref", "enum", "const"})


class Normal(NamedTuple):
    """A normalised schema. adapted: whether its meaning changed, to be reported. changed: whether it differs from the input."""

    schema: dict[str, Any]
    adapted: bool
    changed: bool


class Room:
    """What is left of ROOM."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = ROOM

    def take(self, size: int) -> bool:
        """Whether so many bytes were left."""
        self._left -= size
        return self._left >= 0


def norm(schema: dict[str, Any], path: Path) -> Normal:
    """Return the schema in the form of the messages shape's structured output. The input is not changed.

    Objects are closed, unsupported constraints move into the description, oneOf becomes anyOf. Raises errors.Unsupported with `path`
    for a $ref that is recursive or external, and for a schema above DEPTH or SIZE.
    """
    _check_references(schema, path)
    normalizer = _Normalizer(path)
    return Normal(normalizer.node(schema, DEPTH), normalizer.adapted, normalizer.changed)


def is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode accepts the schema unchanged: every object is closed and requires all properties."""
    if not isinstance(schema, dict) or not _is_object(schema):
        return False
    return all(_is_strict_node(node) for node in _nodes(schema))


def _is_strict_node(node: Any) -> bool:
    if not isinstance(node, dict):
        return node is False  # additionalProperties: false is visited too
    if _NOT_STRICT & node.keys() or not _SAYS_TYPE & node.keys():
        return False
    if not _is_object(node):
        return True
    properties, required = node.get("properties", {}), node.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    names = {name for name in required if isinstance(name, str)}
    return node.get("additionalProperties") is False and names >= properties.keys()


def is_compliant(schema: dict[str, Any]) -> bool:
    """Whether the messages shape's strict tools accept the schema unchanged."""
    try:
        return not norm(schema, ()).changed
    except errors.Unsupported:
        return False


def _is_object(node: dict[str, Any]) -> bool:
    kind = node.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or isinstance(node.get("properties"), dict)


def _nodes(schema: Any) -> Iterator[Any]:
    """The schema and all schemas in it, at any depth."""
    todo = [schema]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, dict):
            todo += _inside(node)


def _inside(node: dict[str, Any]) -> list[Any]:
    """The schemas that stand in a schema, one level deep."""
    schemas: list[Any] = []
    for keyword in _MAPS:
        members = node.get(keyword)
        if isinstance(members, dict):
            schemas += members.values()
    for keyword in _MEMBERS:
        if keyword in node:
            members = node[keyword]
            schemas += members if isinstance(members, list) else [members]
    return schemas


# ---- references ----


def _check_references(schema: dict[str, Any], path: Path) -> None:
    """Each schema is looked at once, however many references lead to it."""
    graph: dict[int, list[int]] = {}  # by identity: what stands in a schema, and what it refers to
    todo: list[Any] = [schema]
    refers = False
    while todo:
        node = todo.pop()
        if not isinstance(node, dict) or id(node) in graph:
            continue
        related = _inside(node)
        reference = node.get("$ref")
        if isinstance(reference, str):
            if not reference.startswith("#"):
                raise _unsupported(f"$ref {reference[:64]!r} leads outside of the schema", path)
            related.append(schema if reference == "#/" else _resolved(schema, reference))
            refers = True
        graph[id(node)] = [id(one) for one in related if isinstance(one, dict)]
        if len(graph) > SIZE:
            raise _unsupported("the schema is too large", path)
        todo += related
    try:
        graphlib.TopologicalSorter(graph if refers else {}).prepare()
    except graphlib.CycleError:
        raise _unsupported("the schema is recursive", path) from None


def _resolved(schema: Any, pointer: str) -> Any:
    """The target of a JSON pointer in a fragment; None if there is none."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict):
            schema = schema.get(step)
        elif isinstance(schema, list) and step.isdecimal() and len(step) < 6 and int(step) < len(schema):
            schema = schema[int(step)]
        else:
            return None
    return schema


def _unsupported(what: str, path: Path) -> errors.Unsupported:
    return errors.Unsupported(f"{what}; the selected model does not support that", param=concrete(path))


# ---- for the messages shape ----


class _Normalizer:
    def __init__(self, path: Path) -> None:
        self.adapted = False
        self.changed = False
        self._path = path

    def node(self, node: Any, levels: int) -> Any:
        if not isinstance(node, dict):
            return node
        if levels == 0:
            raise _unsupported("the schema is nested too deeply", self._path)
        out: dict[str, Any] = {}
        constraints: dict[str, Any] = {}
        for keyword, value in node.items():
            if _is_constraint(keyword, value):
                constraints[keyword] = value
            else:
                out[keyword] = self._member(keyword, value, levels - 1)
        self._without_one_of(out)
        if _is_object(node):
            self._close(out)
        if constraints:
            self._describe(out, constraints)
        return out

    def _member(self, keyword: str, value: Any, levels: int) -> Any:
        if keyword in _NORMED_MAPS and isinstance(value, dict):
            return {name: self.node(member, levels) for name, member in value.items()}
        if keyword in _NORMED_MEMBERS:
            return [self.node(member, levels) for member in value] if isinstance(value, list) else self.node(value, levels)
        return value

    def _without_one_of(self, out: dict[str, Any]) -> None:
        if "oneOf" not in out:
            return
        self.adapted = self.changed = True
        members = out.pop("oneOf")
        if "anyOf" not in out:
            out["anyOf"] = members
        elif isinstance(out.get("allOf", []), list):
            out["allOf"] = [*out.get("allOf", []), {"anyOf": members}]

    def _close(self, out: dict[str, Any]) -> None:
        if out.get("additionalProperties") is False:
            return
        self.adapted = self.adapted or "additionalProperties" in out
        self.changed = True
        out["additionalProperties"] = False

    def _describe(self, out: dict[str, Any], constraints: dict[str, Any]) -> None:
        self.adapted = self.changed = True
        note = f"(constraints: {jsontext.dumps(constraints).decode()})"
        text = out.get("description")
        out["description"] = f"{text} {note}" if isinstance(text, str) and text else note


def _is_constraint(keyword: str, value: Any) -> bool:
    if keyword == "minItems":
        return isinstance(value, int | float) and value > 1
    if keyword == "pattern":
        return not isinstance(value, str) or bool(_FANCY_PATTERN.search(value))
    return keyword in _CONSTRAINTS

"""JSON Schemas of tools and structured output in the forms that Google accepts.

to_json      for `parametersJsonSchema` and `responseJsonSchema`: JSON Schema, with what Google reads differently written otherwise
to_classic   for `parameters` and `responseSchema`: Google's own Schema object, an older subset of OpenAPI 3.0, without references

Only schema positions are processed: a property named `format` is data, not a keyword. Sources: `Schema` and `response_json_schema` in the
protos of the Generative Language API; what is refused beyond them, by errors that other projects report.
"""

from __future__ import annotations

import graphlib
from typing import Any, NamedTuple

from .. import errors, jsontext
from ..ledger import Path, concrete
from ..schema import A_SCHEMA, DEPTH, SIZE, Room

Schema = dict[str, Any]

# keywords with a map of schemas, with a schema, and with a list of schemas
_MAPS = ("properties", "$defs", "patternProperties", "dependentSchemas")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedProperties")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_BESIDE_REF = ("$ref", "description", "default")
_WRITTEN = frozenset((*_MAPS, *_SINGLE, *_LISTS, "definitions", "$schema", "const"))  # all else is copied
_BOUNDS = {"exclusiveMinimum": ("minimum", 1), "exclusiveMaximum": ("maximum", -1)}


class Written(NamedTuple):
    """schema: None if there is nothing to declare: an object without properties. adapted: whether its meaning changed, to be reported."""

    schema: Schema | None
    adapted: bool


def to_json(schema: Schema, path: Path, room: Room | None = None) -> Written:
    """Raises errors.Unsupported for a $ref that leads outside or in a required circle, and for a schema that is too large.

    room: one for all schemas of a request; None where there is no other.
    """
    writer = _Json(schema, path, room or Room())
    written = writer.node(schema, DEPTH)
    if writer.refers:
        writer.check_circles(written)
    return Written(None if _is_bare(written) else written, writer.adapted)


def to_classic(schema: Schema, path: Path, integer_enums: bool = True, room: Room | None = None) -> Written:
    """integer_enums: whether the model accepts an enum of integers, as strings. Raises as `to_json`."""
    writer = _Classic(schema, path, room or Room(), integer_enums)
    written = writer.node(schema, DEPTH, ())
    return Written(None if _is_bare(written) else written, writer.adapted)


def _is_bare(node: Any) -> bool:
    """Whether it is an object of which nothing is said."""
    if not isinstance(node, dict) or node.get("properties") or isinstance(node.get("additionalProperties"), dict):
        return False
    return str(node.get("type", "object")).lower() == "object" and _SAYS_NOTHING.issuperset(node)


_SAYS_NOTHING = frozenset({"type", "description", "title", "additionalProperties", "properties", "required", "$defs"})


class _Writer:
    def __init__(self, root: Schema, path: Path, room: Room) -> None:
        self.adapted = False
        self._room = room
        self._root = root
        self._path = path
        self._size = 0

    def _enter(self, levels: int) -> None:
        self._size += 1
        if levels == 0 or self._size > SIZE:
            raise self._refused("the schema is too large")

    def _refused(self, what: str) -> errors.Unsupported:
        return errors.Unsupported(f"{what}; the selected model does not support that", param=concrete(self._path))

    def _target(self, reference: str) -> Any:
        """The schema at a reference; None if there is none. Raises errors.Unsupported for one that leads outside."""
        if not reference.startswith("#"):
            raise self._refused(f"$ref {reference[:64]!r} leads outside of the schema")
        node: Any = self._root
        for step in reference.lstrip("#").split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and step.isdecimal() and len(step) < 6 and int(step) < len(node):
                node = node[int(step)]
            elif step:
                node = node.get(step) if isinstance(node, dict) else None
        return node

    def _note(self, out: Schema, constraints: Schema) -> None:
        """Put what cannot be expressed into the description."""
        self.adapted = True
        note = f"(constraints: {jsontext.dumps(constraints).decode()})"
        text = out.get("description")
        out["description"] = f"{text} {note}" if isinstance(text, str) and text else note


# ---- JSON Schema ----


class _Json(_Writer):
    refers = False  # whether a reference was written

    def node(self, node: Any, levels: int) -> Any:
        if not isinstance(node, dict):
            return node
        self._enter(levels)
        reference = node.get("$ref")
        if isinstance(reference, str):
            self._target(reference)
            self.refers = True
            out: Schema = {key: node[key] for key in node if key in (*_BESIDE_REF, "$defs", "definitions")}
            out["$ref"] = reference.replace("#/definitions/", "#/$defs/")
            if levels == DEPTH:  # its definitions stand at the root
                out = self._members(out, levels)
            return out
        out = dict(node) if _WRITTEN.isdisjoint(node) else self._members(node, levels)
        return out if _BOUNDS.keys().isdisjoint(out) else self._bounds(out)

    def _members(self, node: Schema, levels: int) -> Schema:
        out: Schema = {}
        for key, value in node.items():
            if key not in _WRITTEN:
                out[key] = value
                continue
            if key == "$schema":
                continue
            key = "$defs" if key == "definitions" else key
            if key == "const":
                out.setdefault("enum", [value])
            elif key in _MAPS and isinstance(value, dict):
                out[key] = out.get(key, {}) | {name: self.node(each, levels - 1) for name, each in value.items()}
            elif key in _LISTS and isinstance(value, list):
                out[key] = [self.node(each, levels - 1) for each in value]
            else:
                out[key] = self.node(value, levels - 1) if key in _SINGLE else value
        return out

    def _bounds(self, out: Schema) -> Schema:
        """Exclusive bounds: of integers as inclusive ones, of numbers in words."""
        rest: Schema = {}
        for key, (inclusive, step) in _BOUNDS.items():
            if key not in out:
                continue
            bound = out.pop(key)
            if out.get("type") == "integer" and type(bound) is int:
                other = out.get(inclusive)
                both = [bound + step, other] if isinstance(other, int | float) else [bound + step]
                out[inclusive] = max(both) if step > 0 else min(both)
            else:
                rest[key] = bound
        if rest:
            self._note(out, rest)
        return out

    def check_circles(self, schema: Any) -> None:
        """Raises errors.Unsupported for references in a circle without a property that may be absent."""
        graph: dict[str, set[str]] = {}
        todo = ["#"]
        self._root = schema if isinstance(schema, dict) else {}
        while todo:
            pointer = todo.pop()
            if pointer not in graph:
                graph[pointer], walked = _references(self._target(pointer))
                todo += graph[pointer]
                if pointer != "#" and not self._room.take(walked * A_SCHEMA):
                    raise self._refused("the schema is too large")
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError:
            raise self._refused("the schema is recursive in what it requires") from None


def _references(schema: Any) -> tuple[set[str], int]:
    """The references that every value of the schema can lead to, and the number of schemas looked at."""
    references: set[str] = set()
    todo = [schema]
    walked = 0
    while todo:
        node = todo.pop()
        walked += 1
        if not isinstance(node, dict):
            continue
        if isinstance(reference := node.get("$ref"), str):
            references.add(reference)
        properties, required = node.get("properties"), node.get("required")
        if isinstance(properties, dict) and isinstance(required, list):
            todo += [properties[name] for name in required if isinstance(name, str) and name in properties]
        todo += [node[key] for key in ("items", "not", "if", "then", "else") if key in node]
        for key in _LISTS:
            todo += node[key] if isinstance(node.get(key), list) else []
    return references, walked


# ---- Google's own Schema ----

_UNCHANGED = (
    "title", "description", "nullable", "minItems", "maxItems", "minProperties", "maxProperties", "minimum", "maximum", "minLength",
    "maxLength", "pattern", "example", "propertyOrdering", "default",
)  # fmt: skip
_OF_TYPE = {
    "string": ("minLength", "maxLength", "pattern", "format", "enum"),
    "number": ("minimum", "maximum", "format", "enum"),
    "integer": ("minimum", "maximum", "format", "enum"),
    "array": ("items", "minItems", "maxItems"),
    "object": ("properties", "required", "minProperties", "maxProperties", "propertyOrdering"),
}
_FORMATS = {"number": ("float", "double"), "integer": ("int32", "int64"), "string": ("date-time", "enum")}
_CONSTRAINTS = frozenset({
    "patternProperties", "if", "then", "else", "not", "unevaluatedItems", "unevaluatedProperties", "uniqueItems", "multipleOf",
    "exclusiveMinimum", "exclusiveMaximum", "contains", "propertyNames", "dependentRequired", "dependentSchemas", "prefixItems",
})  # fmt: skip
_NULL = {"type": "null"}


class _Classic(_Writer):
    def __init__(self, root: Schema, path: Path, room: Room, integer_enums: bool) -> None:
        super().__init__(root, path, room)
        self._integer_enums = integer_enums
        self._targets: dict[str, tuple[Any, int]] = {}  # by reference, each with its size in bytes

    def _inserted(self, reference: str) -> Any:
        """As `_target`, to be written in the place of the reference."""
        cached = self._targets.get(reference)
        if cached is None:
            target = self._target(reference)
            cached = self._targets[reference] = target, A_SCHEMA + len(jsontext.dumps(target))
        if not self._room.take(cached[1]):
            raise self._refused("the schema is too large once its references are resolved")
        return cached[0]

    def node(self, node: Any, levels: int, inside: tuple[str, ...]) -> Schema:
        """inside: the references that lead here."""
        self._enter(levels)
        if not isinstance(node, dict) or not node:
            self.adapted = True
            return {"type": "STRING"}
        reference = node.get("$ref")
        if isinstance(reference, str):
            return self._inlined(node, reference, levels, inside)
        node = self._merged(node)
        union = self._union(node)
        if union is not None:
            return self._any_of(node, union, levels, inside)
        return self._plain(node, levels, inside)

    def _inlined(self, node: Schema, reference: str, levels: int, inside: tuple[str, ...]) -> Schema:
        target = self._inserted(reference)
        description = node.get("description")
        described = {"description": description} if description else {}
        if reference in inside:
            self.adapted = True
            text = description or (target.get("description") if isinstance(target, dict) else None)
            return {"type": "OBJECT"} | ({"description": text} if text else {})
        return self.node((target if isinstance(target, dict) else {}) | described, levels - 1, (*inside, reference))

    def _merged(self, node: Schema) -> Schema:
        """allOf: its members together where they do not conflict, else the first one."""
        members = node.get("allOf")
        if not isinstance(members, list):
            return node
        joint = _Joint({key: value for key, value in node.items() if key != "allOf"})
        for number, member in enumerate(members):
            member = self._inserted(member["$ref"]) if isinstance(member, dict) and isinstance(member.get("$ref"), str) else member
            if isinstance(member, dict) and not joint.add(member) and number:
                self.adapted = True
        return joint.out

    def _union(self, node: Schema) -> list[Any] | None:
        """The alternatives of a node; None if it has none."""
        for key in ("anyOf", "oneOf"):
            if isinstance(node.get(key), list) and node[key]:
                return list(node[key])
        kinds = node.get("type")
        if isinstance(kinds, list) and len(kinds) > 1:
            kinds = {str(kind): kind for kind in kinds}.values()
            return [{"type": kind} | {key: node[key] for key in _OF_TYPE.get(str(kind), ()) if key in node} for kind in kinds]
        return None

    def _any_of(self, node: Schema, union: list[Any], levels: int, inside: tuple[str, ...]) -> Schema:
        rest = [each for each in union if each != _NULL]
        beside = {key: node[key] for key in ("title", "description") if key in node}
        nullable = {"nullable": True} if len(rest) < len(union) else {}
        if len(rest) == 1:
            inner = self.node(rest[0], levels - 1, inside)
            return inner | beside | nullable
        if beside.get("description"):
            self.adapted = True  # nothing may stand beside anyOf
        branches = [self.node(each, levels - 1, inside) for each in rest]
        return {"anyOf": [branch | nullable for branch in branches]}

    def _plain(self, node: Schema, levels: int, inside: tuple[str, ...]) -> Schema:
        kind = node.get("type")
        kind = kind[0] if isinstance(kind, list) and kind else kind
        kind = kind if isinstance(kind, str) else _kind_of(node)
        out: Schema = {"type": kind.upper()} | {key: node[key] for key in _UNCHANGED if key in node}
        rest = {key: node[key] for key in node if key in _CONSTRAINTS}
        if node.get("additionalProperties") not in (None, False, True):
            rest["additionalProperties"] = node["additionalProperties"]
        form = node.get("format")
        if form in _FORMATS.get(kind, ()):
            out["format"] = form
        elif form is not None:
            rest["format"] = form
        self._enum(node, kind, out, rest)
        if kind == "array":
            items = node.get("items")
            out["items"] = self.node(items, levels - 1, inside)
        if kind == "object":
            self._object(node, out, levels, inside)
        if rest:
            self._note(out, rest)
        return out

    def _enum(self, node: Schema, kind: str, out: Schema, rest: Schema) -> None:
        values = [node["const"]] if "const" in node else node.get("enum")
        if not isinstance(values, list):
            return
        if None in values:
            out["nullable"] = True
        left = [value for value in values if value not in (None, "")]
        self.adapted = self.adapted or "" in values
        if not all(isinstance(value, str) for value in left):
            if not (self._integer_enums and kind == "integer"):
                rest["enum"] = left
                return
            left = [str(value) for value in left]
        if left:
            out["enum"] = left

    def _object(self, node: Schema, out: Schema, levels: int, inside: tuple[str, ...]) -> None:
        properties = node.get("properties")
        if not isinstance(properties, dict) or not properties:
            return
        out["properties"] = {name: self.node(each, levels - 1, inside) for name, each in properties.items()}
        required = node.get("required")
        known = [name for name in required if isinstance(name, str) and name in properties] if isinstance(required, list) else []
        if known:
            out["required"] = known


class _Joint:
    """The keywords of several schemas together. out: those so far."""

    def __init__(self, first: Schema) -> None:
        self.out: Schema = {}
        self._required: set[str] = set()  # the names in `required`
        for key, value in first.items():
            self._put(key, value)

    def _put(self, key: str, value: Any) -> None:
        if key == "properties" and isinstance(value, dict):
            value = dict(value)
        elif key == "required" and isinstance(value, list):
            value = list(value)
            self._required.update(name for name in value if isinstance(name, str))
        self.out[key] = value

    def add(self, other: Schema) -> bool:
        """Add a schema's keywords; False if they conflict: then none is added."""
        out = self.out
        if any(key in out and _conflict(key, out[key], value) for key, value in other.items()):
            return False
        for key, value in other.items():
            if key not in out:
                self._put(key, value)
            elif key == "properties" and isinstance(value, dict):
                out[key].update(value)
            elif key == "required" and isinstance(value, list):
                more = [name for name in value if isinstance(name, str) and name not in self._required]
                out[key] += more
                self._required.update(more)
        return True


def _conflict(key: str, one: Any, other: Any) -> bool:
    """Whether two values of a keyword cannot both hold."""
    if key == "properties" and isinstance(one, dict) and isinstance(other, dict):
        return any(name in one and one[name] != each for name, each in other.items())
    if key == "required" and isinstance(one, list) and isinstance(other, list):
        return False
    return key not in ("title", "description") and bool(one != other)


def _kind_of(node: Schema) -> str:
    """The type of a schema that does not say it."""
    if "properties" in node:
        return "object"
    if "items" in node:
        return "array"
    values = [node["const"]] if "const" in node else node.get("enum")
    first = values[0] if isinstance(values, list) and values else ""
    if isinstance(first, bool):
        return "boolean"
    return "integer" if isinstance(first, int) else "number" if isinstance(first, float) else "string"

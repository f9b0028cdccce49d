"""Schemas of a gemini client as JSON Schema.

There are two forms: `parametersJsonSchema` and `responseJsonSchema` are JSON Schema, in which SDKs and gemini-cli write the names of types
in upper case all the same; `parameters` and `responseSchema` are Google's classic Schema, a message of its own.

Only positions of schemas are walked: a property called `type` or `format` is not a keyword. Source: the proto of `Schema` in
google-ai-generativelanguage 0.12.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .protojson import camel

Json = dict[str, Any]

_TYPES = ("", "string", "number", "integer", "boolean", "array", "object", "null")  # by the numbers of the proto's enum
_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas", "defs"})
_MEMBERS = frozenset({
    "items", "prefixItems", "anyOf", "allOf", "oneOf", "not", "if", "then", "else", "additionalProperties", "contains", "propertyNames",
})  # fmt: skip
_WALKED = _MAPS | _MEMBERS
_WHOLE = frozenset({"maxItems", "minItems", "maxProperties", "minProperties", "maxLength", "minLength"})
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_REMOVED = frozenset({"propertyOrdering"})


def lowered(schema: Json) -> Json:
    """JSON Schema with its types in lower case. The input is not changed."""
    return _walked(schema, _lower)


def from_classic(schema: Json) -> Json:
    """JSON Schema of a classic Schema. The input is not changed."""
    return _walked(schema, _converted)


def _walked(schema: Json, convert: Callable[[Json], Json]) -> Json:
    """A schema and all schemas in it converted, each before those within it. Not by recursion, because the depth is untrusted."""
    top: Json = {"schema": schema}
    todo: list[tuple[Any, Any]] = [(top, "schema")]
    while todo:
        holder, key = todo.pop()
        if not isinstance(holder[key], dict):
            continue
        node = holder[key] = convert(holder[key])
        for keyword in _WALKED.intersection(node):
            value = node[keyword]
            if keyword in _MEMBERS and not isinstance(value, list):
                todo.append((node, keyword))
            elif isinstance(value, list if keyword in _MEMBERS else dict):
                inner: Any = value.copy()
                node[keyword] = inner
                todo += [(inner, place) for place in (inner if isinstance(inner, dict) else range(len(inner)))]
    converted: Json = top["schema"]
    return converted


def _type(value: Any) -> Any:
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, list):
        return [_type(one) for one in value]
    return _TYPES[value] if type(value) is int and 0 < value < len(_TYPES) else value


def _lower(node: Json) -> Json:
    return node | {"type": _type(node["type"])} if "type" in node else dict(node)


def _converted(node: Json) -> Json:
    node = {camel(key): value for key, value in node.items() if camel(key) not in _REMOVED and value is not None}
    out: Json = {}
    nullable = node.pop("nullable", False) is True
    for key, value in node.items():
        if key == "type":
            kind = _type(value)
            if kind and kind != "type_unspecified":
                out["type"] = kind
        elif key == "example":
            out["examples"] = [value]
        elif key == "ref":
            out["$ref"] = value.replace("#/defs/", "#/$defs/", 1) if isinstance(value, str) else value
        elif key == "defs":
            out["$defs"] = value
        elif key in _WHOLE and isinstance(value, str) and _INTEGER.fullmatch(value):
            out[key] = int(value)
        else:
            out[key] = value
    if isinstance(out.get("enum"), list):
        out["enum"] = _enum(out)
        if out.get("format") == "enum":
            del out["format"]
    return _nullable(out) if nullable else out


def _enum(node: Json) -> list[Any]:
    """The values in their type: the classic form writes integers as strings."""
    if node.get("type") != "integer":
        return list(node["enum"])
    return [int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value for value in node["enum"]]


def _nullable(node: Json) -> Json:
    if isinstance(node.get("type"), str):
        node["type"] = [node["type"], "null"]
        if isinstance(node.get("enum"), list) and None not in node["enum"]:
            node["enum"] = [*node["enum"], None]
    elif isinstance(node.get("anyOf"), list):
        node["anyOf"] = [*node["anyOf"], {"type": "null"}]
    return node

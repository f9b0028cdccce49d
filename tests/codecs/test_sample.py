"""Instances of schemas: what demo models answer with."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs.sample import instance

S, N = {"type": "string"}, {"type": "integer"}


def of(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), **more}


@pytest.mark.parametrize(
    ("schema", "least", "every"),
    [
        (S, "hi", "hi"),
        (N, 1, 1),
        ({"type": "boolean"}, True, True),
        ({"type": "null"}, None, None),
        ({"type": ["null", "string"]}, "hi", "hi"),
        ({"enum": ["a", "b"]}, "a", "a"),
        ({"const": 7}, 7, 7),
        ({"type": "string", "format": "date"}, "2026-01-31", "2026-01-31"),
        ({"type": "string", "minLength": 5}, "hihih", "hihih"),
        ({"type": "string", "maxLength": 1}, "h", "h"),
        ({"type": "integer", "minimum": 10}, 10, 10),
        ({"type": "integer", "exclusiveMaximum": 0}, -1, -1),
        ({"type": "integer", "multipleOf": 5, "minimum": 7}, 10, 10),
        ({"type": "integer", "minimum": 1.5}, 2, 2),
        ({"type": "array", "items": S}, [], ["hi"]),
        ({"type": "array", "items": N, "minItems": 2}, [1, 1], [1, 1]),
        ({"type": "array", "prefixItems": [S, N]}, ["hi", 1], ["hi", 1]),
        (of({"a": S, "b": N}, "a"), {"a": "hi"}, {"a": "hi", "b": 1}),
        (of({"a": of({"b": {"type": "array", "items": of({"c": S}, "c"), "minItems": 1}}, "b")}, "a"), {"a": {"b": [{"c": "hi"}]}}, ...),
        ({"properties": {"a": S}}, {}, {"a": "hi"}),
        ({"anyOf": [{"type": "null"}, of({"a": S}, "a")]}, {"a": "hi"}, {"a": "hi"}),
        ({"allOf": [of({"a": S}, "a"), of({"b": N}, "b")]}, {"a": "hi", "b": 1}, {"a": "hi", "b": 1}),
        ({"$ref": "#/$defs/n", "$defs": {"n": of({"v": N}, "v")}}, {"v": 1}, {"v": 1}),
        (True, "hi", "hi"),
        ({"type": "object", "required": ["x"]}, {"x": "hi"}, {"x": "hi"}),
    ],
)
def test_instances(schema: Any, least: Any, every: Any) -> None:
    assert instance(schema, "hi") == least
    assert instance(schema, "hi", every=True) == (least if every is ... else every)


def test_schemas_that_hold_themselves() -> None:
    node = {"$ref": "#/$defs/node"}
    tree = of({"left": node, "right": node, "all": {"type": "array", "items": node, "minItems": 64}}, "left", "right", "all")
    both = {"allOf": [{"$ref": "#/$defs/both"}, {"$ref": "#/$defs/both"}]}
    for schema in (
        {"$defs": {"node": tree}, **node},
        {"$defs": {"both": both}, **both},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ):
        instance(schema, "hi", every=True)


@pytest.mark.parametrize(
    "schema", [{"type": 7}, {"enum": []}, {"properties": 1}, {"required": 1}, {"$ref": "x"}, {"multipleOf": 0}, 5, None]
)
def test_what_is_no_schema(schema: Any) -> None:
    instance(schema, "hi")
    instance({"type": "number", "multipleOf": 5e-324, "minimum": 1e308}, "hi")

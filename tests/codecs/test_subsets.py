"""Tools' schemas as the subset of a provider takes them."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import errors, subsets

STRING = {"type": "string"}
COMPLETED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "object"}, {"type": "object", "properties": {}}),
    ({"type": "array"}, {"type": "array", "items": {}}),
    (
        {"type": "object", "properties": {"a": {"type": "array"}, "type": STRING}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {}}, "type": STRING}},
    ),
    (
        {"anyOf": [{"type": "object"}, STRING], "$defs": {"x": {"type": "object"}}},
        {"anyOf": [{"type": "object", "properties": {}}, STRING], "$defs": {"x": {"type": "object", "properties": {}}}},
    ),
]
A, B = {"properties": {"a": STRING}, "required": ["a"]}, {"properties": {"b": STRING, "a": STRING}, "required": ["a", "b"]}
RESTRICTED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "no_root_union",
        {"anyOf": [A, B], "description": "d"},
        {"description": "d", "type": "object", "properties": {"a": STRING, "b": STRING}, "required": ["a"]},
    ),
    ("no_root_union", {"oneOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": A}}, {"$defs": {"A": A}, "type": "object", **A}),
    ("no_root_union", {"allOf": [A, B]}, {"type": "object", "properties": {"a": STRING, "b": STRING}, "required": ["a", "b"]}),
    (
        "refs_in_defs",
        {"type": "object", "properties": {"x": {"$ref": "#/definitions/X"}, "y": {"$ref": "#/elsewhere"}}, "definitions": {"X": STRING}},
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}, "y": {}}, "$defs": {"X": STRING}},
    ),
    (
        "bare_refs",
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/X", "minLength": 3, "description": "d"}}},
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/X", "description": "d"}}},
    ),
    (
        "no_refs",
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/X", "description": "d"}}, "$defs": {"X": STRING}},
        {"type": "object", "properties": {"x": {"type": "string", "description": "d"}}},
    ),
    (
        "no_refs",
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}}, "$defs": {"X": {"properties": {"x": {"$ref": "#/$defs/X"}}}}},
        {"type": "object", "properties": {"x": {"properties": {"x": {}}}}},
    ),
    ("no_booleans", {"type": "array", "items": True}, {"type": "array", "items": {}}),
]


@pytest.mark.parametrize(("schema", "found"), COMPLETED)
def test_what_is_left_unsaid_is_said(schema: dict[str, Any], found: dict[str, Any]) -> None:
    assert subsets.completed(schema) == found


@pytest.mark.parametrize(("restriction", "schema", "found"), RESTRICTED)
def test_restrictions(restriction: str, schema: dict[str, Any], found: dict[str, Any]) -> None:
    assert subsets.restricted(schema, (restriction,)) == found


def test_a_schema_that_fits_is_the_same_object() -> None:
    schema = {"type": "object", "properties": {"properties": {"type": "array", "items": STRING}}}
    assert subsets.completed(schema) is schema
    for restriction in set(subsets.RESTRICTIONS) - {"complete", "no_refs"}:
        assert subsets.restricted(schema, (restriction,)) is schema


def test_a_schema_that_is_too_deep() -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(errors.Unsupported):
        subsets.completed(schema)
    with pytest.raises(errors.Unsupported):
        subsets.restricted(schema, ("no_refs",))


def test_a_union_of_what_is_no_schema() -> None:
    schema: dict[str, Any] = {"anyOf": [1, {"required": 5}, {"required": [[]], "properties": []}], "required": [{}], "properties": []}
    assert subsets.restricted(schema, ("no_root_union",)) == {"type": "object", "properties": {}, "required": [{}]}

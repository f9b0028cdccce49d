"""What becomes of a JSON Schema for the messages shape, and what OpenAI's strict mode takes, as tables."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dragoman.codecs import errors, schema

CLOSED = {"additionalProperties": False}

# given, normal, adapted
NORMAL: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, False),
    ({"type": "string"}, {"type": "string"}, False),
    ({"type": "object"}, {"type": "object", **CLOSED}, False),
    ({"properties": {}}, {"properties": {}, **CLOSED}, False),
    ({"type": ["object", "null"]}, {"type": ["object", "null"], **CLOSED}, False),
    ({"type": "object", **CLOSED}, {"type": "object", **CLOSED}, False),
    ({"additionalProperties": True, "type": "object"}, {**CLOSED, "type": "object"}, True),
    ({"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object", **CLOSED}, True),
    # a property named like a keyword is data
    (
        {"type": "object", "properties": {"minimum": {"type": "integer"}, "oneOf": {}}},
        {"type": "object", "properties": {"minimum": {"type": "integer"}, "oneOf": {}}, **CLOSED},
        False,
    ),
    ({"enum": [{"minimum": 1}], "default": {"oneOf": []}}, {"enum": [{"minimum": 1}], "default": {"oneOf": []}}, False),
    # constraints move into the description, in the order they came
    (
        {"maximum": 9, "type": "integer", "minimum": 1},
        {"type": "integer", "description": '(constraints: {"maximum":9,"minimum":1})'},
        True,
    ),
    (
        {"type": "string", "description": "é", "minLength": 1},
        {"type": "string", "description": 'é (constraints: {"minLength":1})'},
        True,
    ),
    ({"minItems": 1, "items": {"minItems": 0}}, {"minItems": 1, "items": {"minItems": 0}}, False),
    (
        {"contains": {"type": "string"}, "minContains": 2},
        {"description": '(constraints: {"contains":{"type":"string"},"minContains":2})'},
        True,
    ),
    ({"minItems": 2}, {"description": '(constraints: {"minItems":2})'}, True),
    ({"pattern": "^a+$"}, {"pattern": "^a+$"}, False),
    ({"pattern": "(?=a)"}, {"description": '(constraints: {"pattern":"(?=a)"})'}, True),
    ({"pattern": r"(a)\1"}, {"description": r'(constraints: {"pattern":"(a)\\1"})'}, True),
    ({"patternProperties": {"a": {}}}, {"description": '(constraints: {"patternProperties":{"a":{}}})'}, True),
    # every schema position
    (
        {"$defs": {"a": {"maxItems": 1}}, "anyOf": [{"type": "object"}], "prefixItems": [{"oneOf": [{}]}]},
        {
            "$defs": {"a": {"description": '(constraints: {"maxItems":1})'}},
            "anyOf": [{"type": "object", **CLOSED}],
            "prefixItems": [{"anyOf": [{}]}],
        },
        True,
    ),
    ({"oneOf": [{}], "anyOf": [{"type": "null"}]}, {"anyOf": [{"type": "null"}], "allOf": [{"anyOf": [{}]}]}, True),
    # a reference that ends
    ({"$defs": {"a": {}}, "items": {"$ref": "#/$defs/a"}}, {"$defs": {"a": {}}, "items": {"$ref": "#/$defs/a"}}, False),
    # what is no schema stays
    ({"properties": 1, "items": 2, "anyOf": "x", "$defs": [3]}, {"properties": 1, "items": 2, "anyOf": "x", "$defs": [3]}, False),
]  # fmt: skip

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"items": {"$ref": "#"}}, "recursive"),
    ({"items": {"$ref": "#/"}}, "recursive"),
    ({"properties": {"a": {"items": {"$ref": "#/properties/a"}}}}, "recursive"),
    ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}}, "recursive"),
    ({"$defs": {"x/y~": {"anyOf": [{"$ref": "#/$defs/x~1y~0/anyOf/0"}]}}}, "recursive"),
    ({"$ref": "https://example.com/s.json"}, "outside"),
    ({"items": {"$ref": "other.json#/a"}}, "outside"),
]


@pytest.mark.parametrize(("given", "wanted", "adapted"), NORMAL)
def test_schema_for_the_messages_shape(given: dict[str, Any], wanted: dict[str, Any], adapted: bool) -> None:
    before = copy.deepcopy(given)
    normal = schema.norm(given, ("text", "format"))
    assert normal == (wanted, adapted, wanted != given)
    assert list(normal.schema) == list(wanted)
    assert given == before
    again = schema.norm(normal.schema, ())
    assert not again.changed
    assert again.schema == wanted


@pytest.mark.parametrize(("given", "why"), REFUSED)
def test_references_that_nobody_follows(given: dict[str, Any], why: str) -> None:
    with pytest.raises(errors.Unsupported, match=why) as caught:
        schema.norm(given, ("tools", 0, "parameters"))
    assert caught.value.param == "tools[0].parameters"
    assert not schema.is_compliant(given)


def test_a_nest_of_schemas_ends_in_an_error_not_in_a_traceback() -> None:
    nest: dict[str, Any] = {"type": "object", **CLOSED}
    for _ in range(5000):
        nest = {"type": "object", "properties": {"a": nest}, "required": ["a"], **CLOSED}
    assert schema.is_strict(nest)
    with pytest.raises(errors.Unsupported, match="deep"):
        schema.norm(nest, ())


def test_references_cannot_multiply_the_work() -> None:
    wide: dict[str, Any] = {"anyOf": [{} for _ in range(2000)]}
    given = {"$defs": {"a": {"items": wide}}, "allOf": [{"$ref": f"#/$defs/a/items/anyOf/{i:05}"} for i in range(2000)]}
    assert not schema.norm(given, ()).changed
    chain = wide
    pointers = []
    for i in range(90):
        chain = {"items": chain}
        pointers.append({"$ref": "#/$defs/a" + "/items" * i})
    assert not schema.norm({"$defs": {"a": chain}, "allOf": pointers}, ()).changed


STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], **CLOSED}


@pytest.mark.parametrize(
    ("given", "strict"),
    [
        (STRICT, True),
        ({"type": "object", "properties": {}, **CLOSED}, True),
        ({"type": "object", **CLOSED}, True),
        ({"type": "object"}, False),
        ({}, False),
        (None, False),
        ({"type": "string"}, False),
        (STRICT | {"additionalProperties": True}, False),
        (STRICT | {"required": []}, False),
        (STRICT | {"required": None}, False),
        (STRICT | {"required": [["a"], "a"]}, True),
        (STRICT | {"properties": {"a": {"anyOf": [{"type": "null"}, STRICT]}}}, True),
        (STRICT | {"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "object"}]}}}, False),
        (STRICT | {"properties": {"a": {"allOf": [STRICT]}}}, False),
        (STRICT | {"properties": {"a": {}}}, False),
        (STRICT | {"properties": {"a": {"type": ["object", "null"]}}}, False),
        (STRICT | {"$defs": {"n": {"properties": {"b": {"type": "null"}}}}}, False),
    ],
)
def test_what_the_strict_mode_takes(given: Any, strict: bool) -> None:
    assert schema.is_strict(given) is strict

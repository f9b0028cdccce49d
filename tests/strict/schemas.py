"""JSON schemas as providers restrict them: a rule names what a schema may not hold, or must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_SUBSCHEMAS = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "additionalItems")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "$defs", "definitions", "patternProperties")


def schema_fits(schema: Any, rule: dict[str, Any]) -> bool:
    """Whether a schema passes a rule.

    forbid: keywords anywhere. root_forbid, root_type: of the root alone. closed: `additionalProperties: false` on every object.
    all_required: every property is. object_needs_properties, array_needs_items. ref_prefix: how a `$ref` begins; it names something
    that exists. ref_alone: nothing beside `$ref` (true), or none of these. no_bool: no bare boolean. type_list: false forbids a list
    of types. no_type_beside_anyof: at the root. only: the keywords that there are. no_empty_properties, nothing_beside_anyof.
    """
    if not isinstance(schema, dict):
        return not rule.get("no_bool")
    if any(key in schema for key in rule.get("root_forbid", ())):
        return False
    if "root_type" in rule and schema.get("type") != rule["root_type"]:
        return False
    if rule.get("no_type_beside_anyof") and "anyOf" in schema and "type" in schema:
        return False
    return all(_one_fits(one, schema, rule) for one in walk(schema))


def _one_fits(schema: Any, root: dict[str, Any], rule: dict[str, Any]) -> bool:
    if not isinstance(schema, dict):
        return not rule.get("no_bool")
    properties = schema.get("properties")
    is_object = schema.get("type") == "object" or properties is not None
    return not (
        any(key in schema for key in rule.get("forbid", ()))
        or ("only" in rule and not schema.keys() <= set(rule["only"]))
        or (rule.get("no_empty_properties") and properties == {})
        or (rule.get("nothing_beside_anyof") and "anyOf" in schema and len(schema) > 1)
        or (rule.get("closed") and is_object and schema.get("additionalProperties") is not False)
        or (rule.get("all_required") and set(properties or ()) - set(schema.get("required", ())))
        or (rule.get("object_needs_properties") and schema.get("type") == "object" and not isinstance(properties, dict))
        or (rule.get("array_needs_items") and schema.get("type") in ("array", "ARRAY") and "items" not in schema)
        or (rule.get("type_list") is False and isinstance(schema.get("type"), list))
        or ("$ref" in schema and not _reference_fits(schema, root, rule))
    )


def _reference_fits(schema: dict[str, Any], root: dict[str, Any], rule: dict[str, Any]) -> bool:
    alone, prefix = rule.get("ref_alone"), rule.get("ref_prefix")
    if alone is True and len(schema) > 1:
        return False
    if isinstance(alone, list) and any(key in schema for key in alone):
        return False
    name = schema["$ref"]
    return prefix is None or (name.startswith(prefix) and name.removeprefix(prefix) in root.get("$defs", {}))


def walk(schema: Any) -> Iterator[Any]:
    """The schema and every schema in it."""
    yield schema
    if not isinstance(schema, dict):
        return
    for key in _SUBSCHEMAS:
        if isinstance(schema.get(key), dict) or (key == "items" and schema.get(key) is True):
            yield from walk(schema[key])
    for key in _LISTS:
        for inner in schema.get(key) or ():
            yield from walk(inner)
    for key in _MAPS:
        if isinstance(schema.get(key), dict):
            for inner in schema[key].values():
                yield from walk(inner)

"""Create an instance of a JSON Schema: the answer of a demo model when structured output is requested.

Strategy: the minimum that the schema requires, by type, with a given text in free strings. Regular expressions and negative keywords
(`not`, `if`) are ignored: an instance of such a schema may be invalid.
"""

from __future__ import annotations

from math import ceil, floor
from typing import Any

from .anything import dict_of, list_of

_DEPTH = 24  # levels, below which instances are null: schemas may be recursive
_MOST = 10_000  # schemas processed, after which instances are null: recursion may be multiple
_GREATEST = 1 << 53
_LONGEST = 64  # characters or members that a lower bound can require
_OF_FORMAT = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "demo@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "url": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_SAYS_OBJECT = ("properties", "required", "additionalProperties")


def instance(schema: Any, text: str, every: bool = False) -> Any:
    """Return a value described by the schema. text: the content of free strings. every: whether to include optional members."""
    return _Sampler(schema, text, every).value(schema, 0)


class _Sampler:
    def __init__(self, root: Any, text: str, every: bool) -> None:
        self._root = root
        self._text = text
        self._every = every
        self._left = _MOST

    def value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict):
            return self._text if schema is True else None
        if depth > _DEPTH or not self._left:
            return None
        schema = self._whole(schema, depth)
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        for key in ("enum", "examples"):
            if isinstance(schema.get(key), list) and schema[key]:
                return schema[key][0]
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list) and schema[key]:
                return self._one_of(schema, schema[key], depth)
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("integer", "number"):
            return _number(schema, kind)
        return {"boolean": True, "null": None}[kind] if kind != "string" else self._string(schema)

    def _whole(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """The schema merged with its references and the parts of `allOf`."""
        self._left = max(self._left - 1, 0)
        for _ in range(_DEPTH):
            ref = schema.get("$ref")
            if not isinstance(ref, str):
                break
            target = self._at(ref)
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**target, **rest} if isinstance(target, dict) else rest
        parts = schema.get("allOf")
        if not isinstance(parts, list) or depth > _DEPTH or not self._left:
            return schema
        whole = {key: value for key, value in schema.items() if key != "allOf"}
        for part in parts:
            if isinstance(part, dict):
                whole = _joined(whole, self._whole(part, depth + 1))
        return whole

    def _at(self, ref: str) -> Any:
        """The target of a reference inside the schema."""
        node = self._root
        for step in ref.removeprefix("#").strip("/").split("/"):
            if step:
                node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
        return node

    def _one_of(self, schema: dict[str, Any], choices: list[Any], depth: int) -> Any:
        """A value of the first choice that is not null."""
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
        chosen = next((each for each in choices if isinstance(each, dict) and each.get("type") != "null"), choices[0])
        return self.value(_joined(rest, chosen) if isinstance(chosen, dict) else chosen, depth + 1)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = dict_of(schema, "properties")
        required = schema.get("required")
        names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        if self._every and depth < _DEPTH // 4:
            names += [name for name in properties if name not in names]
        return {name: self.value(properties.get(name, True), depth + 1) for name in names}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        first = list_of(schema, "prefixItems")
        least, most = _bound(schema, "minItems", 1 if self._every else 0), _bound(schema, "maxItems", _LONGEST)
        values = [self.value(each, depth + 1) for each in first]
        while len(values) < least:
            values.append(self.value(schema.get("items", True), depth + 1))
        return values[: max(most, 0)]

    def _string(self, schema: dict[str, Any]) -> str:
        form = schema.get("format")
        if form in _OF_FORMAT:
            return _OF_FORMAT[form]
        text = self._text or "demo"
        least, most = _bound(schema, "minLength", 0), _bound(schema, "maxLength", len(text) + _LONGEST)
        if len(text) < least:
            text = (text * (least // len(text) + 1))[:least]
        return text[: max(most, 0)]


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind in ("object", "array", "integer", "number", "boolean", "null", "string"):
        return str(kind)
    return "object" if any(key in schema for key in _SAYS_OBJECT) else "array" if "items" in schema else "string"


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A schema that merges both."""
    both = {**one, **other}
    for key in ("properties", "required"):
        if key in one and key in other:
            if isinstance(one[key], dict) and isinstance(other[key], dict):
                both[key] = {**one[key], **other[key]}
            elif isinstance(one[key], list) and isinstance(other[key], list):
                both[key] = [*one[key], *(each for each in other[key] if each not in one[key])]
    return both


def _bound(schema: dict[str, Any], key: str, usual: int) -> int:
    value = schema.get(key)
    return min(value, _LONGEST) if type(value) is int and key.startswith("min") else value if type(value) is int else usual


def _number(schema: dict[str, Any], kind: str) -> float:
    """The number nearest to 1 within the bounds."""
    least, most = _limit(schema, "minimum", "exclusiveMinimum", 1), _limit(schema, "maximum", "exclusiveMaximum", -1)
    value: float = 1
    if least is not None and value < least:
        value = least
    if most is not None and value > most:
        value = most
    step = schema.get("multipleOf") or (1 if kind == "integer" else None)
    if isinstance(step, int | float) and not isinstance(step, bool) and step > 0 and abs(value) < _GREATEST * step:
        up = ceil(value / step) * step
        value = up if most is None or up <= most else floor(value / step) * step
    return int(value) if kind == "integer" else value


def _limit(schema: dict[str, Any], inclusive: str, exclusive: str, inwards: int) -> float | None:
    for key, step in ((exclusive, inwards), (inclusive, 0)):
        bound = schema.get(key)
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            return bound + step
    return None

"""Fields of a shape's requests, each in a request that has little else: to find out what becomes of a field by sending it through the
encoders, and not by a list that somebody must keep true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Body = dict[str, Any]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJSVFT0YK"
SCHEMA: Body = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}


_NOTHING: Body = {}


class Specimen(NamedTuple):
    """members: of a body, that have the field. beside: members that the field needs, which are not looked at."""

    members: Body
    beside: Body = _NOTHING


@dataclass(frozen=True, slots=True)
class Specimens:
    """least: a request that has only what the API requires. fields: by name, in the order of the API's reference."""

    least: Body = field(default_factory=dict)
    fields: Mapping[str, Specimen] = field(default_factory=dict)


NONE = Specimens()
